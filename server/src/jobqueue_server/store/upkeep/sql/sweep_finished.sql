-- retention: finished -> gone
-- $1 after uuid, excluded  $2 before uuid, excluded: ids of one partition  $3 interval: the retention of what no queue says
-- otherwise  $4 how many int4
-- $5 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- It reads $4 rows in the order of ids, and deletes those that are beyond what their queue says of their status: so each batch
-- costs the same, however few of the rows go. Locks the finished rows in the order of ids, as RetryJob and DeleteJob do;
-- what they hold is skipped. The range stands in every part, so that all other partitions are left out.
with looked as materialized (
    select f.id, f.status, f.finished_at from finished_job f
    where f.id > $1::uuid and f.id < $2::uuid
        and now() between $5::timestamptz - interval '5 seconds' and $5::timestamptz + interval '5 seconds'
    order by f.id
    limit $4::int4
),
-- Only of these is it asked in which queue they were.
old as materialized (
    select l.id, l.status, l.finished_at from looked l
    where l.finished_at < now() - (
        select least($3::interval, min(q.retention_succeeded), min(q.retention_failed_permanent), min(q.retention_cancelled))
        from queue q
    )
),
placed as materialized (
    select j.id, j.lane_id from job j
    where j.id = any(array(select o.id from old o)) and j.id > $1::uuid and j.id < $2::uuid
),
due as materialized (
    select o.id
    from old o
    left join placed p on p.id = o.id
    left join lane l on l.id = p.lane_id
    left join queue q on q.id = l.queue_id
    where o.finished_at < now() - coalesce(retention_of(q, o.status), $3::interval)
),
expired as materialized (
    select f.id from finished_job f
    where f.id = any(array(select d.id from due d)) and f.id > $1::uuid and f.id < $2::uuid
    order by f.id
    for update skip locked
),
attempts as (
    delete from attempt
    where job_id = any(array(select id from expired)) and job_id > $1::uuid and job_id < $2::uuid
),
progress as (
    delete from job_progress where job_id = any(array(select id from expired))
),
body as (
    delete from job where id = any(array(select id from expired)) and id > $1::uuid and id < $2::uuid
),
ended as (
    delete from finished_job where id = any(array(select id from expired)) and id > $1::uuid and id < $2::uuid
)
select
    (select count(*)::int4 from expired) as swept,
    (select count(*)::int4 from looked) as looked,
    (select id from looked order by id desc limit 1) as last
