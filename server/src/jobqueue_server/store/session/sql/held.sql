-- read: the leases that sessions hold
-- $1 session_id int8[]
-- $2 expected timestamptz: nothing is old while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- One of 10 s ahead is from before the clock was set back, and no longer in flight.
select l.id, l.attempts, l.session_id, l.lane_id, l.priority, l.changed_at, l.timeout_ms,
    l.losses + l.unseen >= 2 as isolated,
    l.cancel_requested_at is not null as cancel_requested, coalesce(l.cancel_reason, '') as cancel_reason,
    (select s.epoch from worker_session s where s.id = l.session_id) as epoch,
    coalesce(
        l.changed_at not between now() - interval '10 seconds' and now() + interval '10 seconds'
        and now() between $2::timestamptz - interval '5 seconds' and $2::timestamptz + interval '5 seconds',
        false
    ) as older_than_flight,
    l.deadline - now() as left
from live_job l
where l.state = 2 and l.session_id = any($1::int8[])
