-- read: jobs that match the filter of an operation, in the order of ids
-- $1 int2: what drives the scan: 1 live_job, 2 finished_job (failed for good, cancelled), 3 finished_job, 4 the ids in $4
-- $2, $3 uuid: ids above this one, below that one
-- $4 uuid[]: ids, or null for any
-- $5 queue text or null; $6 kind text or null; $7 statuses int2[]; $8 labels jsonb, or null for any
-- $9 text[]: reasons, or null for any; $10 text: the type of the last error, or null for any
-- $11, $12 timestamptz: ended at this time or later, before that one; null: whenever
-- $13 int4: jobs wanted, at most; $14 int4: candidates to read, at most; $15 namespace int4
-- $16 queues text[]  $17 kinds text[]: patterns of LIKE, pairs of queue and kind: only jobs that fit one may be changed; null: all
-- $18, $19 text[]: the same, of jobs that may be read
-- One row: the ids, how many candidates were looked at, the last of them, and whether there may be more behind it. Every
-- filter reads $14 candidates at most, whether an index serves it or not. Of the branches of `candidate` one runs, the
-- others end at their one-time filter. The laterals with a limit look into one partition each. The literals in the second
-- branch are the partial index's.
with candidate as materialized (
    select u.id
    from (
        (
            select l.id from live_job l
            where $1 = 1::int2 and l.id > $2 and l.id < $3
            order by l.id limit $14
        )
        union all
        (
            select f.id from finished_job f
            where $1 = 2::int2 and 5 = any($7::int2[]) and f.status = 5 and f.id > $2 and f.id < $3
            order by f.id limit $14
        )
        union all
        (
            select f.id from finished_job f
            where $1 = 2::int2 and 6 = any($7::int2[]) and f.status = 6 and f.id > $2 and f.id < $3
            order by f.id limit $14
        )
        union all
        (
            select f.id from finished_job f
            where $1 = 3::int2 and f.id > $2 and f.id < $3
            order by f.id limit $14
        )
        union all
        (
            select i.id from unnest($4::uuid[]) i (id)
            where $1 = 4::int2 and i.id > $2 and i.id < $3
            order by i.id limit $14
        )
    ) u
    order by u.id
    limit $14
),
wanted_lane as materialized (
    -- use wanted-lanes
    select l.id
    from lane l
    join queue q on q.id = l.queue_id
    join kind k on k.id = l.kind_id
    where l.namespace_id = $15
        and ($5::text is null or q.name = $5) and ($6::text is null or k.name = $6)
        and ($16::text[] is null
            or exists (select from unnest($16, $17::text[]) g (queue, kind) where q.name like g.queue and k.name like g.kind))
    -- end of wanted-lanes
        and ($18::text[] is null
            or exists (select from unnest($18, $19::text[]) g (queue, kind) where q.name like g.queue and k.name like g.kind))
),
matched as materialized (
    select c.id
    from candidate c
    cross join lateral (select job.lane_id, job.labels from job where job.id = c.id limit 1) j
    left join lateral (
        select f.status, f.reason, f.finished_at from finished_job f where f.id = c.id limit 1
    ) f on true
    left join lateral (
        select case when l.state = 2 then 2 when l.failures + l.losses > 0 then 4 else 1 end as status
        from live_job l where l.id = c.id limit 1
    ) l on true
    where (j.lane_id in (select id from wanted_lane)) is true
        and coalesce(f.status, l.status)::int2 = any($7::int2[])
        and ($8::jsonb is null or j.labels @> $8::jsonb)
        and ($9::text[] is null or f.reason = any($9))
        and ($11::timestamptz is null or f.finished_at >= $11)
        and ($12::timestamptz is null or f.finished_at < $12)
        and ($10::text is null or $10 = (
            select a.error_type from attempt a
            where a.job_id = c.id and a.outcome in (1, 7, 8)
            order by a.attempt desc limit 1
        ))
    order by c.id
    limit $13
),
stop as materialized (
    select case when (select count(*) from matched) >= $13 then (select m.id from matched m order by m.id desc limit 1) end as at
)
select
    array(select m.id from matched m order by m.id) as ids,
    (select count(*) from candidate c where stop.at is null or c.id <= stop.at)::int4 as looked,
    coalesce(stop.at, (select c.id from candidate c order by c.id desc limit 1)) as position,
    stop.at is not null or (select count(*) from candidate) >= $14 as more
from stop
