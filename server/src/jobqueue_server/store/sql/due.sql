-- read: leases past their deadline: a run timeout or the end of a cancel grace
-- $1 how many int4
-- Only a leased job has a deadline. To say so here would let the planner take the index of held rows instead of the one
-- of deadlines, where statistics are old: four times a second it would read every running job.
select l.id, l.attempts, l.session_id, l.timeout_ms,
    coalesce(l.changed_at + l.timeout_ms * interval '1 millisecond' <= now(), false) as timed_out
from live_job l
where l.deadline is not null and l.deadline <= now()
order by l.deadline
limit $1::int4
