-- retention: what changed of queues, kinds and lanes, once every server has read it -> gone
-- $1 how many int4
-- $2 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- After a day: a server that read nothing for an hour reads all.
with gone as (
    delete from catalog_change c
    where c.ctid = any(array(
        select o.ctid from catalog_change o
        where o.at < now() - interval '1 day'
            and now() between $2::timestamptz - interval '5 seconds' and $2::timestamptz + interval '5 seconds'
        order by o.at
        limit $1::int4
    ))
    returning c.at
)
select count(*)::int4 as swept from gone
