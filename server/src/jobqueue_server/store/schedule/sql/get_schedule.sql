-- read: a schedule, with its last run
-- $1 int4: namespace; $2 text: name
select s.*,
-- use last-run
    r.tick as run_tick, r.nth as run_nth, r.outcome as run_outcome, r.job_id as run_job_id, r.note as run_note,
    r.ticks as run_ticks, r.decided_at as run_decided_at, r.number as run_number, r.cause as run_cause
from schedule s
left join lateral (
    select * from schedule_run r where r.schedule_id = s.id order by r.number desc limit 1
) r on true
-- end of last-run
where s.namespace_id = $1 and s.name = $2
