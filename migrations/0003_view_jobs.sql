-- The view `jobs`: what psql and dashboards may rely on. Its columns keep their names, order and types; one row a job.

create view jobs as
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
    coalesce(f.finished_at, greatest(l.changed_at, l.cancel_requested_at)) as updated_at
from job j
join lane n on n.id = j.lane_id
join kind k on k.id = n.kind_id
left join live_job l on l.id = j.id
left join finished_job f on f.id = j.id;

comment on view jobs is
    'One row for each job, for people and dashboards; stable. Bound a large read by id: a range of created_at is '
    'the range of ids from uuid_at(start) to uuid_at(stop), and only that uses the index.';
comment on column jobs.id is 'UUID v7; its time is created_at.';
comment on column jobs.kind is 'What sort of work it is.';
comment on column jobs.payload is 'JSON, with the digits and spaces that the producer sent; null where it is not JSON.';
comment on column jobs.status is 'queued, running, succeeded, retrying, failed_permanent or cancelled.';
comment on column jobs.attempts is 'Claims so far. Snoozed, released and lost ones count too, so it may pass max_attempts.';
comment on column jobs.max_attempts is 'How many failures end it for good.';
comment on column jobs.last_error is 'Message of the last attempt that left one, by failing, running out of time or being lost; it stays after a success.';
comment on column jobs.run_at is 'The earliest moment of the next claim; of a finished job, of its first.';
comment on column jobs.locked_at is 'When the running attempt began; null unless running.';
comment on column jobs.locked_by is 'Name of the worker that holds it; null unless running.';
comment on column jobs.cancel_requested is 'Whether somebody asked for its end; of a finished job, whether it ended for that.';
comment on column jobs.idempotency_key is 'The producer''s key, if it gave one.';
comment on column jobs.created_at is 'When it was enqueued, to the millisecond.';
comment on column jobs.updated_at is 'Its last change of status or request to cancel; of a finished job, its end.';
