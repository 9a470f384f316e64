-- read: leases past their deadline: a run timeout or the end of a cancel grace
-- $1 how many int4
select l.id, l.attempts, l.session_id, l.timeout_ms,
    coalesce(l.changed_at + l.timeout_ms * interval '1 millisecond' <= now(), false) as timed_out
from live_job l
where l.deadline is not null and l.deadline <= now() and l.state = 2
order by l.deadline
limit $1::int4
