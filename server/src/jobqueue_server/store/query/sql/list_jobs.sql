-- read: a page of jobs, newest first
-- $1 by int2: what drives the scan: 1 live_job, 2 finished_job (failed for good, cancelled), 3 the ids in $15, 4 job
-- $2 low uuid  $3 high uuid: ids from this one on (inclusive), up to that one (exclusive); a range of created_at is a range of ids
-- $4 queue text or null; $5 kind text or null; $6 statuses int2[], or null for any; $7 labels jsonb, or null for any
-- $8 most int4: rows wanted; $9 reads int4: candidates to read, at most; $10 bytes int8: of a page
-- $11 full bool: with payload, output, headers and failed attempts; $12 namespace int4
-- $13 queues text[]  $14 kinds text[]: patterns of LIKE, pairs of queue and kind: only jobs that fit one may be read; null: all
-- $15 ids uuid[]: of jobs that were found by labels (labelled_ids) or by their lines (live_ids); null: none
-- Answers the rows that fit and, in `edge`, where the scan stopped if it gave up before it had $8 rows (null: it did not, or
-- nothing is left). The first row may have no id: it carries only `edge`.
-- `candidate` is inlined twice, so that `edge` costs nothing on a full page.
with candidate as not materialized (
    -- use candidate-jobs
    select u.id
    from (
        (
            select l.id from live_job l
            where $1 = 1::int2 and l.id >= $2 and l.id < $3
            order by l.id desc limit $9
        )
        union all
        (
            select f.id from finished_job f
            where $1 = 2::int2 and 5 = any($6::int2[]) and f.status = 5 and f.id >= $2 and f.id < $3
            order by f.id desc limit $9
        )
        union all
        (
            select f.id from finished_job f
            where $1 = 2::int2 and 6 = any($6::int2[]) and f.status = 6 and f.id >= $2 and f.id < $3
            order by f.id desc limit $9
        )
        union all
        (
            select i.id from unnest($15::uuid[]) i (id)
            where $1 = 3::int2 and i.id >= $2 and i.id < $3
            order by i.id desc limit $9
        )
        union all
        (
            select j.id from job j
            where $1 = 4::int2 and j.id >= $2 and j.id < $3
            order by j.id desc limit $9
        )
    ) u
    order by u.id desc
    limit $9
    -- end of candidate-jobs
),
wanted_lane as materialized (
    -- use wanted-lanes (columns = l.id, q.name as queue, k.name as kind)
    select l.id, q.name as queue, k.name as kind
    from lane l
    join queue q on q.id = l.queue_id
    join kind k on k.id = l.kind_id
    where l.namespace_id = $12
        and ($4::text is null or q.name = $4) and ($5::text is null or k.name = $5)
        and ($13::text[] is null
            or exists (select from unnest($13, $14::text[]) g (queue, kind) where q.name like g.queue and k.name like g.kind))
    -- end of wanted-lanes
),
page as materialized (
    select c.id, j.lane_id, s.status
    -- use fitting-candidates
    from candidate c
    cross join lateral (select job.lane_id, job.labels from job where job.id = c.id limit 1) j
    cross join lateral (
        select coalesce(
            (select f.status from finished_job f where f.id = c.id),
            (select case when l.state = 2 then 2 when l.failures + l.losses > 0 then 4 else 1 end
             from live_job l where l.id = c.id)
        )::int2 as status
        limit 1
    ) s
    where (j.lane_id in (select id from wanted_lane)) is true
        and ($7::jsonb is null or j.labels @> $7::jsonb)
        and s.status is not null
        and ($6::int2[] is null or s.status = any($6::int2[]))
    -- end of fitting-candidates
    order by c.id desc
    limit $8
),
edge as (
    select case when (select count(*) from page) < $8
        then (select c.id from candidate c order by c.id desc offset $9 - 1 limit 1)
    end as edge
),
found as materialized (
    select p.id, p.status, n.queue, n.kind, b.*, f.finished_at, f.reason,
           -- use state-as-seen (asked = b.asked_run_at; worker = w.name)
           coalesce(f.attempts, l.attempts) as attempts,
           coalesce(f.failures, l.failures) as failures,
           coalesce(f.losses, l.losses) as losses,
           coalesce(l.run_at, b.asked_run_at) as run_at,
           coalesce(f.finished_at, greatest(l.changed_at, l.cancel_requested_at)) as updated_at,
           case when l.state = 2 then l.changed_at end as locked_at,
           case when l.state = 2 then w.name end as locked_by,
           l.hold,
           l.cancel_requested_at is not null
               or f.reason is not distinct from 'CANCELLED_BY_CALLER'
               or f.reason is not distinct from 'CANCEL_GRACE_ENDED' as cancel_requested,
           -- end of state-as-seen
           e.last_error, g.fraction as progress_fraction, g.message as progress_message, g.updated_at as progress_at,
           b.full_bytes + coalesce(f.output_bytes, 0) as body_bytes
    from page p
    join wanted_lane n on n.id = p.lane_id
    -- use body-as-seen (of = p)
    cross join lateral (
        select
               j.run_at as asked_run_at,
               j.priority, j.max_attempts, j.timeout_ms, j.min_backoff_ms, j.max_backoff_ms, j.labels::text as labels,
               j.idempotency_key, j.key, j.unique_name::text as unique_name,
               octet_length(j.payload)
               + coalesce(octet_length(j.headers), 0)
               as full_bytes
        from job j where j.id = p.id limit 1
    ) b
    -- end of body-as-seen
    -- use look-ups-of-job (of = p)
    left join lateral (select * from live_job l where l.id = p.id limit 1) l on true
    left join lateral (
        select
            f.finished_at, f.reason, f.attempts, f.failures, f.losses, octet_length(f.output) as output_bytes
        from finished_job f where f.id = p.id limit 1
    ) f on true
    left join lateral (select w.name from worker_session w where w.id = l.session_id limit 1) w on true
    left join lateral (select g.* from job_progress g where g.job_id = p.id limit 1) g on true
    left join lateral (
        select a.message as last_error from attempt a
        where a.job_id = p.id and a.message is not null
        order by a.attempt desc limit 1
    ) e on true
    -- end of look-ups-of-job
),
history as materialized (
    -- use history-of-jobs
    select d.id,
           array_agg(
               row (t.attempt, t.reason, t.error_type, t.message, w.name, t.started_at, t.ended_at) order by t.attempt
           ) as failed_attempts,
           sum(t.own_bytes) as bytes
    from found d
    cross join lateral (
        select a.*, sum(a.own_bytes) over (order by a.attempt desc) as bytes
        from (
            select *, coalesce(octet_length(message), 0) + 200 as own_bytes
            from attempt
            where job_id = d.id and outcome in (1, 7, 8)
            order by attempt desc
            limit 100
        ) a
    ) t
    left join worker_session w on w.id = t.session_id
    where $11 and t.bytes <= 1048576
    group by d.id
    -- end of history-of-jobs
),
fitting as materialized (
    select d.*, h.failed_attempts,
           row_number() over (order by d.id desc) as n,
           sum(
               -- use bytes-as-seen (body = d.body_bytes)
               600
               + coalesce(octet_length(d.labels), 0) + coalesce(octet_length(d.idempotency_key), 0)
               + coalesce(octet_length(d.key), 0) + coalesce(octet_length(d.unique_name), 0)
               + coalesce(octet_length(d.last_error), 0) + coalesce(octet_length(d.progress_message), 0)
               + case when $11 then d.body_bytes + coalesce(h.bytes, 0) else 0 end
               -- end of bytes-as-seen
           ) over (order by d.id desc) as bytes
    from found d
    left join history h on h.id = d.id
)
select edge.edge, t.*, uuid_time(t.id) as created_at,
       case when $11 then (select j.payload from job j where j.id = t.id) end as payload,
       -- fields: shown in full, looked up where $11,
       case when $11 then (select j.headers from job j where j.id = t.id) end as headers,
       -- end of fields
       case when $11 then (select f.output from finished_job f where f.id = t.id) end as output,
       (select count(*) from page)::int4 as matched
from edge
left join fitting t on t.n = 1 or t.bytes <= $10
order by t.id desc
