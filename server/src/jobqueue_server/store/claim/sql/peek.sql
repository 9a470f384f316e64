-- read: the jobs that a claim would take, by their lines and sizes
-- $1 .. $5 as in claim.sql; $6 how many int4; $7 bool: with their sizes, else 0
-- For a session that bounds the bytes it holds, and where jobs take several slots: what does not fit is not claimed. Locks nothing; a claim right after
-- may find others, so the caller compares the sizes again. The size of a payload is read without unpacking it,
-- and by a look-up for each job: a join, planned while the partitions were small, was kept as one that reads them whole.
with want as materialized (
    select w.*
    from unnest($1::int4[], $2::int2[], $3::int4[], $4::timestamptz[], $5::int4[])
        as w (lane_id, priority, take, floor, queue)
    where w.lane_id not in (
        select n.id from lane n join queue q on q.id = n.queue_id where n.id = any($1::int4[]) and q.paused_at is not null
    )
),
line as materialized (
    select ready.id, ready.run_at, w.lane_id, w.priority, w.queue
    from want w
    cross join lateral (
        select l.id, l.run_at
        from live_job l
        where l.state = 1 and l.lane_id = w.lane_id and l.priority = w.priority
            and l.run_at >= w.floor and l.run_at <= now()
        order by l.run_at, l.id
        limit w.take
    ) ready
),
turn as (
    select id, lane_id, priority, queue, row_number() over (partition by queue order by priority desc, run_at, id) as turn
    from line
),
dealt as materialized (
    select id, lane_id, priority, turn, queue from turn order by turn, queue limit $6::int4
)
select d.lane_id, d.priority,
       case when $7::bool then coalesce((select octet_length(j.payload) from job j where j.id = d.id), 0) else 0 end as size
from dealt d
order by d.turn, d.queue
