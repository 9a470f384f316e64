-- schedule: a tick waits, and no job is open any more -> about to fire
-- $1 int4: how many at most; $2 int4[]: those that this server fires or tries apart
-- As due_schedules.sql: principals take turns. Few have a tick that waits. `open` has one job mostly. The
-- inner order is that of an index: so it is used also by a plan that was made when there was no schedule.
with freed as materialized (
    select s.id, s.buffered_at, row_number() over (partition by s.namespace_id, s.principal order by s.buffered_at) as nth
    from (
        select s.id, s.namespace_id, s.principal, s.buffered_at from schedule s
        where s.buffered_at is not null and s.paused_at is null and s.id <> all($2::int4[])
            and not exists (select from live_job l where l.id = any(s.open))
            and s.namespace_id in (select n.id from namespace n where n.disabled_at is null)
        order by s.buffered_at
        limit 100 * $1::int4
    ) s
),
wanted as materialized (
    select array_agg(f.id order by f.nth, f.buffered_at) as ids
    from (select * from freed f order by f.nth, f.buffered_at limit 2 * $1::int4) f
)
select s.id, s.namespace_id, s.name, s.queue, s.kind, s.spec, s.job, s.payload, s.policy, s.next_at, s.last_tick, s.open,
    s.buffered_at, s.buffered_nth, s.skipped_in_a_row, s.failures_in_a_row, s.runs, s.principal, s.credential, now() as at
from schedule s
where s.id = any((select w.ids from wanted w)::int4[]) and s.buffered_at is not null and s.paused_at is null
order by array_position((select w.ids from wanted w), s.id)
limit $1::int4
for update of s skip locked
