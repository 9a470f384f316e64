-- watch: which jobs changed since what was told, oldest change first
-- $1 int8, $2 int8, $3 int8[]: the snapshot up to which all was told: its xmin, xmax, and what was under way between them
-- $4 int8, $5 int8, $6 int8[]: the snapshot up to which this turn tells, likewise
-- $7 timestamptz, $8 uuid: the last change told, when and of which job: goes on after it
-- $9 timestamptz: tells changes before that time
-- $10 uuid[]: these jobs, whenever they changed; null: all
-- $11 queue text or null; $12 kind text or null; $13 jsonb: labels or null; $14 int4: jobs wanted
-- $15 namespace int4
-- $16 queues text[]  $17 kinds text[]: patterns of LIKE, pairs of queue and kind: only jobs that fit one may be read; null: all
-- A change is a row that was written by a transaction which the first snapshot does not see and the second does. So one
-- that committed late is found whenever it commits, and none is found twice. That is what pg_visible_in_snapshot computes,
-- here in int8: a row has only the lower half of its transaction's number (xmin), and the only way from there to xid8 is by
-- text. By age() 35,000 rows take 8.5 ms, by text 9.8. A row of more than 2^32 transactions ago has a number that may look like
-- a new one; its time does not.
-- Each source is bounded by the time of the change, which is the start of its transaction: ends by the BRIN of finished_at;
-- jobs that wait or are held back by run_at, which no change leaves in the past; those that run are few.
-- `next` is the number that the next transaction gets, by the only function that gives it away: a snapshot's xmax is but the
-- last that ended, and one with a higher number may be under way for long.
-- Lanes are looked up in this snapshot: one that another server has just made is not missed.
with fresh as materialized (
    select s.snapshot, s.xmax + ((age('3'::xid)::int8 + 3 - s.xmax) & 4294967295) as next
    from (
        select pg_current_snapshot() as snapshot, pg_snapshot_xmax(pg_current_snapshot())::text::int8 as xmax
    ) s
),
own_lane as materialized (
    select l.id
    from lane l
    where l.namespace_id = $15
        and ($16::text[] is null or exists (
            select
            from unnest($16, $17::text[]) g (queue, kind)
            join queue q on q.id = l.queue_id and q.name like g.queue
            join kind k on k.id = l.kind_id and k.name like g.kind
        ))
),
wanted_lane as materialized (
    -- use wanted-lanes
    select l.id
    from lane l
    join queue q on q.id = l.queue_id
    join kind k on k.id = l.kind_id
    where l.namespace_id = $15
        and ($11::text is null or q.name = $11) and ($12::text is null or k.name = $12)
        and ($16::text[] is null
            or exists (select from unnest($16, $17::text[]) g (queue, kind) where q.name like g.queue and k.name like g.kind))
    -- end of wanted-lanes
),
-- A step of its own, so that the planner knows nothing of them but their keys.
named as materialized (
    select f.id, f.finished_at as at, f.xmin as writer from finished_job f where f.id = any($10)
    union all
    select l.id, greatest(l.changed_at, l.cancel_requested_at), l.xmin from live_job l where l.id = any($10)
),
version as (
    select f.id, f.finished_at as at, f.xmin as writer
    from finished_job f
    where $10::uuid[] is null and f.finished_at >= $7 and f.finished_at < $9
    union all
    select l.id, greatest(l.changed_at, l.cancel_requested_at), l.xmin
    from live_job l
    where $10 is null and l.state = 2
    union all
    select l.id, l.changed_at, l.writer
    from wanted_lane w
    cross join generate_series(-10, 10) p (priority)
    cross join lateral (
        select l.id, l.changed_at, l.xmin as writer
        from live_job l
        where l.state = 1 and l.lane_id = w.id and l.priority = p.priority and l.run_at >= $7
        union all
        select l.id, l.changed_at, l.xmin
        from live_job l
        where l.state = 4 and l.lane_id = w.id and l.priority = p.priority and l.run_at >= $7
    ) l
    where $10 is null
    union all
    select l.id, l.changed_at, l.xmin
    from wanted_lane w
    cross join lateral (
        select l.id, l.changed_at, l.xmin
        from live_job l
        where l.state = 3 and l.lane_id = w.id and l.run_at >= $7
    ) l
    where $10 is null
    union all
    select * from named
),
numbered as (
    select v.id, v.at, n.next - (age(v.writer)::int8 & 4294967295) as xid
    from version v
    cross join fresh n
    where (v.at, v.id) > ($7, $8) and v.at < $9
),
changed as materialized (
    select id, at
    from numbered
    where not (xid < $1 or xid < $2 and xid <> all ($3))
        and (xid < $4 or xid < $5 and xid <> all ($6))
),
page as materialized (
    select c.id, c.at
    from changed c
    cross join lateral (select job.lane_id, job.labels from job where job.id = c.id limit 1) j
    where case
            when $11 is null and $12 is null then j.lane_id in (select id from own_lane)
            else j.lane_id in (select id from wanted_lane)
        end
        and ($13::jsonb is null or j.labels @> $13)
    order by c.at, c.id
    limit $14
)
select
    n.snapshot::text as snapshot, n.next, now() as at,
    (select system_identifier from pg_control_system())::text || ' '
        || left(pg_walfile_name(pg_current_wal_lsn()), 8) || ' '
        || (select oid from pg_database where datname = current_database())::text as history,
    (select array_agg(id order by at, id) from page) as ids,
    (select array_agg(at order by at, id) from page) as changed_at,
    exists (
        select from live_job l where l.id = any($10) and (l.lane_id in (select id from own_lane)) is true
    ) as live,
    (
        select array_agg(w.id)
        from unnest($10) w (id)
        where not exists (
                select from live_job l where l.id = w.id and (l.lane_id in (select id from own_lane)) is true
            )
            and not exists (
                select from finished_job f
                where f.id = w.id
                    and ((select j.lane_id from job j where j.id = f.id) in (select id from own_lane)) is true
            )
    ) as gone
from fresh n
