-- delete: many jobs, terminal -> -
-- $1 uuid[]: the jobs, whose finished rows this transaction has locked; $2, $3 uuid: the smallest of them, the greatest
-- As delete_job, for many, with the same `semaphore_id`: idempotency keys stay until they expire. $2 and $3 leave out all other
-- partitions.
with ended as (
    delete from finished_job f where f.id = any($1::uuid[]) and f.id >= $2 and f.id <= $3
),
tried as (
    delete from attempt a where a.job_id = any($1::uuid[]) and a.job_id >= $2 and a.job_id <= $3
),
said as (
    delete from job_progress p where p.job_id = any($1::uuid[])
)
delete from job j where j.id = any($1::uuid[]) and j.id >= $2 and j.id <= $3
returning j.id,
    case when j.key is not null then (
        select case when q.key_on_failure is not null then semaphore_of(q.id, j.key) end
        from lane n join queue q on q.id = n.queue_id
        where n.id = j.lane_id
    ) end as semaphore_id
