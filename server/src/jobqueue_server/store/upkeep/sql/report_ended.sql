-- read: which jobs ended since a time, by queue, kind and status, for the report after a restore
-- $1 timestamptz. Bounded by the BRIN index of finished_at.
select
    n.name as namespace, q.name as queue, k.name as kind,
    count(*) filter (where f.status = 3) as succeeded,
    count(*) filter (where f.status = 5) as failed,
    count(*) filter (where f.status = 6) as cancelled,
    max(f.finished_at) as last
from finished_job f
join job j on j.id = f.id
join lane a on a.id = j.lane_id
join queue q on q.id = a.queue_id
join kind k on k.id = a.kind_id
join namespace n on n.id = a.namespace_id
where f.finished_at >= $1::timestamptz
group by n.name, q.name, k.name
order by n.name, q.name, k.name
