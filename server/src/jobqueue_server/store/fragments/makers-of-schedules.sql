-- The principals that have schedules which fire, by leaps over the index: it takes as long as there are principals, and not
-- schedules.
-- blanks: only =
maker (namespace_id, principal) as (
    (
        select s.namespace_id, s.principal from schedule s
        where s.paused_at is null and s.next_at is not null {only}
        order by s.namespace_id, s.principal limit 1
    )
    union all
    select n.namespace_id, n.principal
    from maker m
    cross join lateral (
        select s.namespace_id, s.principal from schedule s
        where s.paused_at is null and s.next_at is not null and (s.namespace_id, s.principal) > (m.namespace_id, m.principal)
        order by s.namespace_id, s.principal limit 1
    ) n
)
