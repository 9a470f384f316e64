-- The view `jobs` says that a job waits for its key, or for its run_at and then its key.

create or replace view jobs as
select
    j.id,
    k.name as kind,
    case when coalesce(j.content_type, 'application/json') = 'application/json'
        then convert_from(j.payload, 'UTF8')::json
    end as payload,
    case
        when f.status = 3 then 'succeeded'
        when f.status = 5 then 'failed_permanent'
        when f.status = 6 then 'cancelled'
        when l.state = 2 then 'running'
        when l.failures + l.losses > 0 then 'retrying'
        when l.id is not null then 'queued'
    end as status,
    coalesce(l.attempts, f.attempts) as attempts,
    j.max_attempts::int4 as max_attempts,
    (
        select a.message from attempt a
        where a.job_id = j.id and a.message is not null
        order by a.attempt desc
        limit 1
    ) as last_error,
    coalesce(l.run_at, j.run_at) as run_at,
    case when l.state = 2 then l.changed_at end as locked_at,
    -- A subselect and not a join: who holds a job is looked up for the running ones alone.
    case when l.state = 2 then (select s.name from worker_session s where s.id = l.session_id) end as locked_by,
    l.cancel_requested_at is not null
        or coalesce(f.reason in ('CANCELLED_BY_CALLER', 'CANCEL_GRACE_ENDED'), false) as cancel_requested,
    j.idempotency_key,
    uuid_time(j.id) as created_at,
    coalesce(f.finished_at, greatest(l.changed_at, l.cancel_requested_at)) as updated_at,
    case l.hold when 1 then 'key' when 2 then 'time' when 4 then 'hand' end as hold,
    j.key
from job j
join lane n on n.id = j.lane_id
join kind k on k.id = n.kind_id
left join live_job l on l.id = j.id
left join finished_job f on f.id = j.id;

comment on column jobs.hold is 'key: the job waits for its key; time: for its run_at, then its key; hand: for ReleaseJob; null: it is not held back.';
