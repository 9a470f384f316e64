-- read: whether a job is there, and its terminal status if it has ended
-- $1 uuid: the job; $2 int4: namespace
select f.status, l.id is not null as live
from job j
join lane n on n.id = j.lane_id
join queue q on q.id = n.queue_id
left join finished_job f on f.id = j.id
left join live_job l on l.id = j.id
where j.id = $1 and n.namespace_id = $2 and (f.id is not null or l.id is not null)
