-- read: how many jobs of a stretch of ids fit, newest first
-- $1 by int2: what drives the scan, as in list_jobs.sql; $2 low uuid  $3 high uuid: ids from this one on, up to that one (exclusive)
-- $4 queue text or null; $5 kind text or null; $6 statuses int2[], or null for any; $7 labels jsonb, or null for any
-- $8 reads int4: jobs to look at, at most; $9 namespace int4
-- $10 queues text[]  $11 kinds text[]: patterns of LIKE, pairs of queue and kind: only jobs that fit one may be read; null: all
-- $12 ids uuid[]: of jobs that were found by labels (labelled_ids); null: none
-- edge: the id below which the next stretch begins; null: this was the last one.
with candidate as materialized (
    -- use candidate-jobs
    select u.id
    from (
        (
            select l.id from live_job l
            where $1 = 1::int2 and l.id >= $2 and l.id < $3
            order by l.id desc limit $8
        )
        union all
        (
            select f.id from finished_job f
            where $1 = 2::int2 and 5 = any($6::int2[]) and f.status = 5 and f.id >= $2 and f.id < $3
            order by f.id desc limit $8
        )
        union all
        (
            select f.id from finished_job f
            where $1 = 2::int2 and 6 = any($6::int2[]) and f.status = 6 and f.id >= $2 and f.id < $3
            order by f.id desc limit $8
        )
        union all
        (
            select i.id from unnest($12::uuid[]) i (id)
            where $1 = 3::int2 and i.id >= $2 and i.id < $3
            order by i.id desc limit $8
        )
        union all
        (
            select j.id from job j
            where $1 = 4::int2 and j.id >= $2 and j.id < $3
            order by j.id desc limit $8
        )
    ) u
    order by u.id desc
    limit $8
    -- end of candidate-jobs
),
wanted_lane as materialized (
    -- use wanted-lanes
    select l.id
    from lane l
    join queue q on q.id = l.queue_id
    join kind k on k.id = l.kind_id
    where l.namespace_id = $9
        and ($4::text is null or q.name = $4) and ($5::text is null or k.name = $5)
        and ($10::text[] is null
            or exists (select from unnest($10, $11::text[]) g (queue, kind) where q.name like g.queue and k.name like g.kind))
    -- end of wanted-lanes
),
fitting as (
    select
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
)
select (select count(*) from fitting)::int4 as jobs, now() as now,
       case when (select count(*) from candidate) >= $8 then (select c.id from candidate c order by c.id limit 1) end as edge
