-- read: whether a job is there, and its terminal status if it has ended
-- $1 uuid: the job
select f.status, l.id is not null as live
from (select $1::uuid as id) w
left join finished_job f on f.id = w.id
left join live_job l on l.id = w.id
where f.id is not null or l.id is not null
