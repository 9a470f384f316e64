-- queue: without lanes, and nothing is said of it -> forgotten
-- $1 timestamptz: made before then; $2 int4: so many at most
-- $3 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- A lane that is being made holds a lock on its queue. One that was made since this snapshot has a foreign key, which ends this.
with idle as materialized (
    select q.id from queue q
    where q.created_at < $1 and q.revision = 1 and q.paused_at is null
        and not exists (select from lane l where l.queue_id = q.id)
        and not exists (select from queue_key s where s.queue_id = q.id)
        and now() between $3::timestamptz - interval '5 seconds' and $3::timestamptz + interval '5 seconds'
    order by q.id
    limit $2::int4
    for update skip locked
),
gone as (
    delete from queue q using idle i where q.id = i.id
)
select count(*)::int4 as swept from idle
