-- read: the principals that have operations which go on, or schedules which fire
-- Those of schedules by leaps over the index, so that it takes as long as there are principals, and not schedules; few have a
-- tick that waits. What an identity's principals showed is answered too: the claims of a token are not known any more.
with recursive
-- use makers-of-schedules
maker (namespace_id, principal) as (
    (
        select s.namespace_id, s.principal from schedule s
        where s.paused_at is null and s.next_at is not null
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
-- end of makers-of-schedules
select m.namespace_id, m.principal,
    case when m.principal like 'key:%' then '{}' else array(
        select distinct s.credential from schedule s
        where s.namespace_id = m.namespace_id and s.principal = m.principal and s.paused_at is null and s.next_at is not null
    ) end as credentials
from maker m
where m.principal <> ''
union all
select s.namespace_id, s.principal, array_agg(distinct s.credential)
from schedule s
where s.buffered_at is not null and s.paused_at is null and s.principal <> ''
group by s.namespace_id, s.principal
union all
select o.namespace_id, o.principal, array_agg(distinct o.credential)
from operation o
where o.ended_at is null and o.rests_for is null
group by o.namespace_id, o.principal
