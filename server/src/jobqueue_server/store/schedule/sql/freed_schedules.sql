-- schedule: a tick waits, and no job is open any more -> about to fire
-- $1 int4: how many at most
-- As due_schedules.sql. `open` has one job mostly. The order is that of an index: so it is used also by a plan that was made
-- when there was no schedule.
select s.id, s.namespace_id, s.name, s.queue, s.kind, s.spec, s.job, s.payload, s.policy, s.next_at, s.last_tick, s.open,
    s.buffered_at, s.buffered_nth, s.skipped_in_a_row, s.failures_in_a_row, s.runs, now() as at
from schedule s
where s.buffered_at is not null and s.paused_at is null
    and not exists (select from live_job l where l.id = any(s.open))
    and s.namespace_id in (select n.id from namespace n where n.disabled_at is null)
order by s.buffered_at
limit $1
for update of s skip locked
