-- read: ids of jobs that have not ended, of some queues or kinds, by the indexes of the lines
-- $1, $2 uuid: ids from this one on, up to that one (exclusive); $3 queue text or null; $4 kind text or null
-- $5 int2[]: statuses that are not terminal; $6 int4: rows to read, at most; $7 namespace int4; $8 queues text[]  $9 kinds text[]: as in list_jobs
-- Answers one row. `ids` is null where as many rows as may be read are there: then nothing is known.
-- A list along the primary key passes over all newer jobs of other queues; here no row of another queue is read, but for those
-- that run. Each bound is of rows that are read, so none of them has a range of ids. The order in each branch is that of its
-- index, so that no other one serves it, whatever the size of the table was when the plan was made.
with wanted_lane as materialized (
    -- use wanted-lanes
    select l.id
    from lane l
    join queue q on q.id = l.queue_id
    join kind k on k.id = l.kind_id
    where l.namespace_id = $7
        and ($3::text is null or q.name = $3) and ($4::text is null or k.name = $4)
        and ($8::text[] is null
            or exists (select from unnest($8, $9::text[]) g (queue, kind) where q.name like g.queue and k.name like g.kind))
    -- end of wanted-lanes
),
candidate as materialized (
    select u.id, u.lane_id
    from (
        (
            select n.id, n.lane_id from wanted_lane w
            cross join lateral (
                select l.id, l.lane_id from live_job l
                where l.state = 1 and l.lane_id = w.id order by l.priority, l.run_at, l.id limit $6
            ) n
            where $5::int2[] && array[1, 4]::int2[]
            limit $6
        )
        union all
        (
            select n.id, n.lane_id from wanted_lane w
            cross join lateral (
                select l.id, l.lane_id from live_job l
                where l.state = 4 and l.lane_id = w.id order by l.priority, l.run_at, l.id limit $6
            ) n
            where $5::int2[] && array[1, 4]::int2[]
            limit $6
        )
        union all
        (
            select n.id, n.lane_id from wanted_lane w
            cross join lateral (
                select l.id, l.lane_id from live_job l
                where l.state = 3 and l.lane_id = w.id order by l.run_at, l.id limit $6
            ) n
            where $5::int2[] && array[1, 4]::int2[]
            limit $6
        )
        union all
        (
            select l.id, l.lane_id from live_job l
            where l.state = 2 and 2 = any($5::int2[])
            order by l.session_id limit $6
        )
    ) u
    limit $6
)
select case when (select count(*) from candidate) < $6 then array(
    select c.id from candidate c
    where c.id >= $1 and c.id < $2 and c.lane_id in (select id from wanted_lane)
) end as ids
