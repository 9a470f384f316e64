-- watch: jobs that changed, as they are now
-- $1 ids uuid[]: the jobs, in order
-- $2 int8, $3 int8, $4 int8[] and $5 int8, $6 int8, $7 int8[]: the two snapshots of watch_changes.sql
-- $8 bytes int8: of a page; $9 full bool: with payload, output, headers and failed attempts
-- Answers a row for each of the first jobs that fit into a page. One that has changed again since it was found has no kind:
-- its new row is not seen by the second snapshot, and the next turn tells it.
with fresh as materialized (
    select s.xmax + ((age('3'::xid)::int8 + 3 - s.xmax) & 4294967295) as next
    from (select pg_snapshot_xmax(pg_current_snapshot())::text::int8 as xmax) s
),
asked as materialized (
    select a.id, a.n from unnest($1::uuid[]) with ordinality as a (id, n)
),
numbered as (
    select a.id, a.n, v.live, n.next - (age(v.writer)::int8 & 4294967295) as xid
    from asked a
    cross join fresh n
    cross join lateral (
        select l.xmin as writer, true as live from live_job l where l.id = a.id
        union all
        select f.xmin, false from finished_job f where f.id = a.id
    ) v
),
same as materialized (
    select id, n
    from numbered
    where not (xid < $2 or xid < $3 and xid <> all ($4))
        and (xid < $5 or xid < $6 and xid <> all ($7))
),
found as materialized (
    select s.n as place, b.*, q.name as queue, k.name as kind, f.finished_at, f.reason,
           coalesce(
               f.status, case when l.state = 2 then 2 when l.failures + l.losses > 0 then 4 else 1 end
           )::int2 as status,
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
    from same s
    -- use body-as-seen (of = s; more = j.id, j.lane_id,)
    cross join lateral (
        select
               j.id, j.lane_id,
               j.run_at as asked_run_at,
               j.priority, j.max_attempts, j.timeout_ms, j.min_backoff_ms, j.max_backoff_ms, j.labels::text as labels,
               j.idempotency_key, j.key, j.unique_name::text as unique_name,
               octet_length(j.payload)
               + coalesce(octet_length(j.headers), 0)
               as full_bytes
        from job j where j.id = s.id limit 1
    ) b
    -- end of body-as-seen
    join lane on lane.id = b.lane_id
    join queue q on q.id = lane.queue_id
    join kind k on k.id = lane.kind_id
    -- use look-ups-of-job (of = s; more = f.status,)
    left join lateral (select * from live_job l where l.id = s.id limit 1) l on true
    left join lateral (
        select
            f.status,
            f.finished_at, f.reason, f.attempts, f.failures, f.losses, octet_length(f.output) as output_bytes
        from finished_job f where f.id = s.id limit 1
    ) f on true
    left join lateral (select w.name from worker_session w where w.id = l.session_id limit 1) w on true
    left join lateral (select g.* from job_progress g where g.job_id = s.id limit 1) g on true
    left join lateral (
        select a.message as last_error from attempt a
        where a.job_id = s.id and a.message is not null
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
    where $9 and t.bytes <= 1048576
    group by d.id
    -- end of history-of-jobs
),
weighed as materialized (
    select a.n, d.*, h.failed_attempts,
           sum(
               -- use bytes-as-seen (body = coalesce(d.body_bytes, 0))
               600
               + coalesce(octet_length(d.labels), 0) + coalesce(octet_length(d.idempotency_key), 0)
               + coalesce(octet_length(d.key), 0) + coalesce(octet_length(d.unique_name), 0)
               + coalesce(octet_length(d.last_error), 0) + coalesce(octet_length(d.progress_message), 0)
               + case when $9 then coalesce(d.body_bytes, 0) + coalesce(h.bytes, 0) else 0 end
               -- end of bytes-as-seen
           ) over (order by a.n) as bytes
    from asked a
    left join found d on d.place = a.n
    left join history h on h.id = d.id
)
select t.*, uuid_time(t.id) as created_at,
       case when $9 then (select j.payload from job j where j.id = t.id) end as payload,
       -- fields: shown in full, looked up where $9,
       case when $9 then (select j.headers from job j where j.id = t.id) end as headers,
       -- end of fields
       case when $9 then (select f.output from finished_job f where f.id = t.id) end as output
from weighed t
where t.n = 1 or t.bytes <= $8
order by t.n
