-- read: the queues that are paused, of all namespaces: since when, by whom, why
select q.id, q.paused_at, q.paused_by, q.pause_reason from queue q where q.paused_at is not null order by q.id limit 10000
