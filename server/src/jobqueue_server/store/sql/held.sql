-- read: the leases that sessions hold
-- $1 session_id int8[]
select l.id, l.attempts, l.session_id, l.lane_id, l.priority, l.changed_at, l.timeout_ms,
    l.losses + coalesce(l.unseen, 0) >= 2 as isolated,
    l.cancel_requested_at is not null as cancel_requested, coalesce(l.cancel_reason, '') as cancel_reason,
    (select s.epoch from worker_session s where s.id = l.session_id) as epoch,
    l.changed_at < now() - interval '10 seconds' as older_than_flight,
    l.deadline - now() as left
from live_job l
where l.state = 2 and l.session_id = any($1::int8[])
