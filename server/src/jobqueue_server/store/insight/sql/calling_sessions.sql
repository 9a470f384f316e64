-- read: the sessions of workers without a stream whose ttl has not ended, with how many jobs each holds
-- Those of all namespaces and servers, since between calls no server has them in memory. At most 1,000. The jobs that one
-- holds are counted up to its slots, and to 1,000.
select coalesce(s.namespace_id, 1) as namespace_id, s.greeting::text as greeting,
       (select count(*)::int4
        from (select from live_job l where l.state = 2 and l.session_id = s.id limit 1000) h) as held
from worker_session s
where s.ended_at is null and s.greeting is not null and s.silent_since > now() - s.ttl
limit 1000
