-- retention: progress of jobs that ended long ago -> gone
-- $1 after uuid, excluded  $2 before uuid, excluded: ids of one partition  $3 retention interval  $4 how many int4
-- Goes before its partition is dropped or merged, which would otherwise have to delete all of it under a lock.
with expired as materialized (
    select p.job_id from job_progress p
    where p.job_id > $1::uuid and p.job_id < $2::uuid
        and not exists (select from live_job l where l.id = p.job_id)
        and not exists (
            select from finished_job f
            where f.id = p.job_id and f.id > $1::uuid and f.id < $2::uuid and f.finished_at >= now() - $3::interval
        )
    order by p.job_id
    limit $4::int4
    for update skip locked
),
gone as (
    delete from job_progress where job_id = any(array(select job_id from expired))
)
select count(*)::int4 as swept, (array_agg(job_id order by job_id desc))[1] as last from expired
