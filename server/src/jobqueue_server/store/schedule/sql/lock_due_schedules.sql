-- schedule: due -> about to fire, apart from others
-- $1 int4[]: which, that this server has found due
select s.id, s.namespace_id, s.name, s.queue, s.kind, s.spec, s.job, s.payload, s.policy, s.next_at, s.last_tick, s.open,
    s.buffered_at, s.buffered_nth, s.skipped_in_a_row, s.failures_in_a_row, s.runs, s.principal, s.credential, now() as at
from schedule s
where s.id = any($1::int4[]) and s.paused_at is null
    and (s.next_at <= now()
        or (s.buffered_at is not null and not exists (select from live_job l where l.id = any(s.open))))
    and s.namespace_id in (select n.id from namespace n where n.disabled_at is null)
order by s.id
for update of s skip locked
