-- read: the sessions of workers without a stream whose ttl has not ended, with how many slots its jobs take; of those that
-- an operator drains none, since they take no jobs
-- Those of all namespaces and servers, since between calls no server has them in memory. At most 1,000, and of each of them
-- 1,000 jobs.
select s.namespace_id, s.greeting::text as greeting,
       (select coalesce(sum(coalesce(k.slot_weight, 1)), 0)::int4
        from (select l.lane_id from live_job l where l.state = 2 and l.session_id = s.id limit 1000) h
        join lane on lane.id = h.lane_id
        join kind k on k.id = lane.kind_id) as held
from worker_session s
where s.ended_at is null and s.greeting is not null and s.drain_at is null and s.silent_since > now() - s.ttl
limit 1000
