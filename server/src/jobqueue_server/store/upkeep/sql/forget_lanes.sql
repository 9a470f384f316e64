-- lane: without jobs -> forgotten
-- $1 int4[]: these, if still $2 timestamptz: no server made sure of them since
-- $3 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- Who makes sure of one writes its row: that waits for this and makes the lane anew, or is skipped here, or is seen by the check of
-- the row once it is locked. A statement that knows the lane from before refuses it: it is older than a day (in_use in enqueue.sql).
with idle as materialized (
    select l.id from lane l
    where l.id = any($1::int4[]) and l.used_at < $2
        and now() between $3::timestamptz - interval '5 seconds' and $3::timestamptz + interval '5 seconds'
    order by l.id
    for update skip locked
),
gone as (
    delete from lane l using idle i where l.id = i.id
)
select count(*)::int4 as swept from idle
