-- retention: sessions that ended long ago and that nothing names -> gone
-- $1 after int8, excluded  $2 age interval: the retention and a day  $3 how many int4
-- $4 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- The session's name is the worker of its attempts. Whatever it ran was enqueued before it ended, so only partitions
-- older than that age need be searched, and of those only the leftovers remain.
with ended as materialized (
    select s.id from worker_session s
    where s.id > $1::int8 and s.ended_at < now() - $2::interval
        and now() between $4::timestamptz - interval '5 seconds' and $4::timestamptz + interval '5 seconds'
    order by s.id
    limit $3::int4
    for update skip locked
),
named as materialized (
    select a.session_id from attempt a
    where a.job_id < uuid_at(now() - $2::interval) and a.session_id = any(array(select id from ended))
    union
    select f.session_id from finished_job f
    where f.id < uuid_at(now() - $2::interval) and f.session_id = any(array(select id from ended))
    union
    select l.session_id from live_job l where l.state = 2 and l.session_id = any(array(select id from ended))
),
gone as (
    delete from worker_session s using ended e
    where s.id = e.id and e.id not in (select session_id from named)
    returning s.id
)
select
    (select count(*)::int4 from gone) as swept,
    (select count(*)::int4 from ended) as looked,
    (select max(id) from ended) as last
