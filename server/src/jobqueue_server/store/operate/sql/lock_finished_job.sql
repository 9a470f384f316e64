-- retry, delete: terminal, about to change
-- $1 uuid: the job; $2 int4: namespace
-- The finished row is locked before anything else by retry, delete and retention alike, so that of two of them one waits
-- and then finds nothing. No row: the job has not ended, or is gone.
select f.status
from finished_job f
where f.id = $1
    and (
        select n.namespace_id = $2
        from job j
        join lane n on n.id = j.lane_id
        join queue q on q.id = n.queue_id
        where j.id = $1
    )
for update of f
