-- kind: without lanes, and never declared -> forgotten
-- $1 timestamptz: seen before then; $2 int4: so many at most
-- $3 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- As forget_queues.sql.
with idle as materialized (
    select k.id from kind k
    where k.updated_at < $1 and k.declared_at is null
        and not exists (select from lane l where l.kind_id = k.id)
        and not exists (select from kind_declaration d where d.kind_id = k.id)
        and now() between $3::timestamptz - interval '5 seconds' and $3::timestamptz + interval '5 seconds'
    order by k.id
    limit $2::int4
    for update skip locked
),
gone as (
    delete from kind k using idle i where k.id = i.id
)
select count(*)::int4 as swept from idle
