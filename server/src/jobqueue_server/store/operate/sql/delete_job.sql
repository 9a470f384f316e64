-- delete: terminal -> -
-- $1 uuid: the job, whose finished row this transaction has locked
-- The idempotency key stays until it expires: a replay answers only the id. `semaphore_id` is the semaphore that the job may block.
with ended as (
    delete from finished_job where id = $1
),
tried as (
    delete from attempt where job_id = $1
),
said as (
    delete from job_progress where job_id = $1
)
delete from job j using lane l, queue q, kind k
where j.id = $1 and l.id = j.lane_id and q.id = l.queue_id and k.id = l.kind_id
returning q.name as queue, k.name as kind,
    case when q.key_on_failure is not null then semaphore_of(q.id, j.key) end as semaphore_id
