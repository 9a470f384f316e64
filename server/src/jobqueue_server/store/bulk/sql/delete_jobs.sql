-- delete: terminal -> -
-- $1 uuid[]: the jobs, whose finished rows this transaction has locked; $2, $3 uuid: the smallest of them, the greatest
-- An idempotency key stays until it expires: a replay answers only the id. `semaphore_id` is the semaphore that a job may block.
-- $2 and $3 leave out all other partitions.
-- has: 2
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
    (select q.name from lane n join queue q on q.id = n.queue_id where n.id = j.lane_id) as queue,
    (select k.name from lane n join kind k on k.id = n.kind_id where n.id = j.lane_id) as kind,
    case when j.key is not null then (
        select case when q.key_on_failure is not null then semaphore_of(q.id, j.key) end
        from lane n join queue q on q.id = n.queue_id
        where n.id = j.lane_id
    ) end as semaphore_id
