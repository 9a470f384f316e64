-- retention: progress of jobs that ended long ago -> gone
-- $1 after uuid, excluded  $2 before uuid, excluded: ids of one partition
-- $3 interval: the retention of what no queue says otherwise  $4 how many int4
-- $5 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- Goes before its partition is dropped or merged, which would otherwise have to delete all of it under a lock.
-- It reads $4 rows and deletes those of them that are not needed. To ask of each row in the range whether its job lives
-- would read the whole of live_job for every batch.
with looked as materialized (
    select p.job_id from job_progress p
    where p.job_id > $1::uuid and p.job_id < $2::uuid
        and now() between $5::timestamptz - interval '5 seconds' and $5::timestamptz + interval '5 seconds'
    order by p.job_id
    limit $4::int4
    for update skip locked
),
kept as materialized (
    select l.id from live_job l where l.id = any(array(select job_id from looked))
    union all
    select f.id
    from finished_job f
    left join job j on j.id = f.id and j.id > $1::uuid and j.id < $2::uuid
    left join lane l on l.id = j.lane_id
    left join queue q on q.id = l.queue_id
    where f.id = any(array(select job_id from looked)) and f.id > $1::uuid and f.id < $2::uuid
        and f.finished_at >= now() - coalesce(retention_of(q, f.status), $3::interval)
),
gone as (
    delete from job_progress
    where job_id = any(array(select job_id from looked)) and job_id not in (select id from kept)
    returning job_id
)
select
    (select count(*)::int4 from gone) as swept,
    (select count(*)::int4 from looked) as looked,
    (select job_id from looked order by job_id desc limit 1) as last
