-- claim: ready -> leased
-- $1 lane_id int4[]  $2 priority int2[]  $3 take int4[]  $4 floor timestamptz[]  $5 queue number int4[]: the targets;
-- $6 session_id int8[]: the reserved slots, in the order of dealing; $7 session_id int8[], $8 epoch int4[]: each session
-- once; $9 int4[]: at most so many rows of the target's queue, the same for all targets of a queue.
-- Takes at most as many rows as there are slots. Within a queue the highest priority goes first, then run_at, then id;
-- the queues take turns. A queue's lines are read in order, and no further than to its $9: else each of 80 lines locked as
-- many rows as there are slots, 130 ms for 1,000 jobs instead of 15. Each look-up starts at its floor, so that it does not
-- pass over the dead entries of earlier claims again (27.8 ms against 0.7 ms with 300,000 of them and a held snapshot).
-- Locks: each row once, skipping what another claim holds; the update finds them again where they lie (a sixth less for
-- 1,000 than by primary key). A row that changed between this statement's snapshot and its lock, and is ready again, lies
-- where the snapshot does not see it: it is left to the next claim. A session that is no longer in its epoch gets nothing.
with want as materialized (
    select w.*
    from unnest($1::int4[], $2::int2[], $3::int4[], $4::timestamptz[], $5::int4[], $9::int4[])
        as w (lane_id, priority, take, floor, queue, most)
    where w.lane_id not in (select id from lane where id = any($1::int4[]) and gated)
),
line as materialized (
    select ready.id, ready.at, ready.run_at, ready.priority, q.queue
    from (select queue, min(most) as most from want group by queue) q
    cross join lateral (
        select l.id, l.at, l.run_at, w.priority
        from (select * from want where want.queue = q.queue order by priority desc) w
        cross join lateral (
            select l.id, l.ctid as at, l.run_at
            from live_job l
            where l.state = 1 and l.lane_id = w.lane_id and l.priority = w.priority
                and l.run_at >= w.floor and l.run_at <= now()
            order by l.run_at, l.id
            limit w.take
            for update skip locked
        ) l
        order by w.priority desc
        limit q.most
    ) ready
),
turn as (
    select id, at, queue, row_number() over (partition by queue order by priority desc, run_at, id) as turn
    from line
),
dealt as materialized (
    select at, row_number() over (order by turn, queue) as slot
    from turn
    order by turn, queue
    limit cardinality($6::int8[])
),
present as materialized (
    select s.id
    from worker_session s
    where s.id = any($7::int8[]) and s.ended_at is null
        and (s.id, s.epoch) in (select * from unnest($7::int8[], $8::int4[]))
)
update live_job l
set state = 2,
    attempts = l.attempts + 1,
    session_id = ($6::int8[])[d.slot],
    changed_at = now(),
    deadline = now() + l.timeout_ms * interval '1 millisecond'
from dealt d
where l.ctid = d.at and ($6::int8[])[d.slot] in (select id from present)
returning l.id, l.lane_id, l.priority, l.run_at, l.attempts, l.session_id, l.failures, l.changed_at
