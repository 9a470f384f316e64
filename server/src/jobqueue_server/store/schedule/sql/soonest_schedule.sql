-- read: the next tick of all schedules, and whether a tick waits for the end of a job
-- $1 int4[]: those that this server fires or tries apart; they are left out
-- Without those of namespaces that are disabled: what fires none of them would otherwise look for them again and again, and
-- come late to the others.
select
    (
        select s.next_at from schedule s
        where s.paused_at is null and s.next_at is not null and s.id <> all($1::int4[])
            and s.namespace_id in (select n.id from namespace n where n.disabled_at is null)
        order by s.next_at limit 1
    ) as next_at,
    (
        select s.buffered_at from schedule s
        where s.buffered_at is not null and s.paused_at is null and s.id <> all($1::int4[])
            and s.namespace_id in (select n.id from namespace n where n.disabled_at is null)
        order by s.buffered_at limit 1
    ) is not null as buffered
