-- schedule: due -> about to fire
-- $1 int4: how many at most
-- Rows that another server fires are passed over. One that it has just fired is looked at again as it is now: it is not due.
select s.id, s.namespace_id, s.name, s.queue, s.kind, s.spec, s.job, s.payload, s.policy, s.next_at, s.last_tick, s.open,
    s.buffered_at, s.buffered_nth, s.skipped_in_a_row, s.failures_in_a_row, s.runs, now() as at
from schedule s
where s.paused_at is null and s.next_at is not null and s.next_at <= now()
    and s.namespace_id in (select n.id from namespace n where n.disabled_at is null)
order by s.next_at
limit $1
for update of s skip locked
