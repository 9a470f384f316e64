-- call: keys that may let one in and do not call -> calling; such as after their queue's limit was raised
-- $1 after which semaphore int8, excluded  $2 how many to look at int4
-- One that a worker has paused calls at its time. `over` are those whose pause is to end now: their queue limits keys no longer,
-- or the clock was set back, since no pause is longer than 24 hours.
-- One that is blocked goes on where its queue blocks keys no longer. A call in vain costs one promote. One that is far ahead is from before the clock was set back, or before the rate was raised.
-- locks: 6
with looked as materialized (
    select
        t.id,
        t.blocked_by,
        t.blocked_by is not null and t.cancels_to is null and q.key_on_failure is distinct from 2 as goes_on,
        t.waiting > 0 and t.blocked_by is null
            and t.taken < coalesce(
                case when q.key_order is not null then least(t.own_limit, 1) else t.own_limit end,
                q.key_max_running,
                2147483647
            )
            and (
                t.admit_at is null
                or t.admit_at > now() + coalesce(
                    greatest(q.key_rate_period_ms::float8 / q.key_rate_count, 1000) * interval '1 millisecond',
                    interval '0'
                )
            )
            and not coalesce(t.paused_until > now(), false) as calls,
        case
            when t.paused_until > now() then
                t.paused_until > now() + interval '24 hours 5 seconds'
                or not q.limits_keys
        end as over
    from semaphore t
    join queue q on q.id = t.queue_id
    where t.id > $1::int8
    order by t.id
    limit $2::int4
),
called as (
    update semaphore t set admit_at = now()
    where t.id = any(array(select id from looked where calls order by id)) and t.waiting > 0
    returning t.id
),
let_go as (
    update semaphore t set blocked_by = null, admit_at = case when t.waiting > 0 then now() end
    where t.id = any(array(select id from looked where goes_on order by id))
        and (t.id, t.blocked_by) in (select id, blocked_by from looked where goes_on)
    returning t.id
)
select
    (select count(*)::int4 from looked) as looked,
    (select max(id) from looked) as last,
    (select array_agg(id) from (select id from called union all select id from let_go) c) as calling,
    (select array_agg(id order by id) from looked where over) as over
