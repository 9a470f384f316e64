-- read: leases past their deadline: a run timeout or the end of a cancel grace
-- $1 server id int8  $2 how many int4
-- $3 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- The server that has the session goes first, since it can tell the worker at once. Another server waits a second for it.
-- Only a leased job has a deadline. To say so here would let the planner take the index of held rows instead of the one
-- of deadlines, where statistics are old: four times a second it would read every running job.
select l.id, l.attempts, l.session_id, l.timeout_ms,
    coalesce(l.changed_at + l.timeout_ms * interval '1 millisecond' <= now(), false) as timed_out
from live_job l
where l.deadline is not null and l.deadline <= now()
    and now() between $3::timestamptz - interval '5 seconds' and $3::timestamptz + interval '5 seconds'
    and (
        l.deadline <= now() - interval '1 second'
        or not exists (
            select
            from worker_session s
            join server v on v.id = s.server_id
            where s.id = l.session_id and v.id <> $1::int8 and v.heartbeat_at > now() - interval '5 seconds'
        )
    )
order by l.deadline
limit $2::int4
