-- read: one job, as it is now
-- (made of get_job.sql.in: change it there, and run make generate)
-- $1 id uuid: the job; $2 full bool: with payload, output, headers and failed attempts; $3 namespace int4
-- One statement, one snapshot: a job is never seen between its live row and its end. Every look-up goes by the id, so that
-- the partitions that can't hold it are left out. The payload is not even fetched where it is not asked for.
-- failed_attempts: the newest 100 that were charged, less the oldest of them once their messages pass 1 MiB; newest last.
select j.id, q.name as queue, k.name as kind, uuid_time(j.id) as created_at,
       j.priority, j.max_attempts, j.timeout_ms, j.min_backoff_ms, j.max_backoff_ms, j.labels::text as labels,
       j.idempotency_key, j.key, j.unique_name::text as unique_name,
       case when f.id is not null then f.status
            when l.state = 2 then 2
            when l.failures + l.losses > 0 then 4
            else 1 end as status,
       coalesce(f.attempts, l.attempts) as attempts,
       coalesce(f.failures, l.failures) as failures,
       coalesce(f.losses, l.losses) as losses,
       coalesce(l.run_at, j.run_at) as run_at,
       coalesce(f.finished_at, greatest(l.changed_at, l.cancel_requested_at)) as updated_at,
       case when l.state = 2 then l.changed_at end as locked_at,
       case when l.state = 2 then s.name end as locked_by,
       l.hold,
       l.cancel_requested_at is not null
           or f.reason is not distinct from 'CANCELLED_BY_CALLER'
           or f.reason is not distinct from 'CANCEL_GRACE_ENDED' as cancel_requested,
       f.finished_at, f.reason,
       p.fraction as progress_fraction, p.message as progress_message, p.updated_at as progress_at,
       (
           select a.message from attempt a
           where a.job_id = $1
               and a.message is not null order by a.attempt desc limit 1
       )
           as last_error,
       case when $2 then j.payload end as payload,
       case when $2 then f.output end as output,
       case when $2 then j.headers end as headers,
       case when $2 then array(
           select row (t.attempt, t.reason, t.error_type, t.message, w.name, t.started_at, t.ended_at)
           from (
               select a.*, sum(coalesce(octet_length(a.message), 0)) over (order by a.attempt desc) as bytes
               from (
                   select * from attempt
                   where job_id = $1 and outcome in (1, 7, 8)
                   order by attempt desc
                   limit 100
               ) a
           ) t
           left join worker_session w on w.id = t.session_id
           where t.bytes <= 1048576
           order by t.attempt
       ) end as failed_attempts
from job j
join lane on lane.id = j.lane_id
join queue q on q.id = lane.queue_id
join kind k on k.id = lane.kind_id
left join live_job l on l.id = j.id
left join finished_job f on f.id = j.id
left join worker_session s on s.id = l.session_id
left join job_progress p on p.job_id = j.id
where j.id = $1
    and lane.namespace_id = $3 and (l.id is not null or f.id is not null)
