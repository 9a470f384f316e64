-- retention: operations that ended long ago -> gone
-- $1 retention interval  $2 how many int4
-- $3 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
with expired as materialized (
    select o.id from operation o
    where o.ended_at < now() - $1::interval
        and now() between $3::timestamptz - interval '5 seconds' and $3::timestamptz + interval '5 seconds'
    order by o.ended_at
    limit $2::int4
    for update skip locked
),
gone as (
    delete from operation o where o.id = any(array(select e.id from expired e)) returning o.id
)
select count(*)::int4 as swept from gone
