-- claim: ready -> leased, where a queue or a kind limits how many of its jobs run or start
-- $1 lanes int4[]  $2 priorities int2[]  $3 takes int4[]  $4 floors timestamptz[]: the targets, all of the queue $5 queue int4;
-- $6 slots int8[]: the sessions of the reserved slots, in the order of dealing; $7 sessions int8[], $8 epochs int4[]: each session
-- once; $9 kind int4: of all targets, where it has limits; null: those of kinds with limits are left out, whatever the caller knew
-- As claim.sql, of one queue. The function locks the queue until the commit, then the kind, and counts what runs after that.
-- So claims of one queue follow each other, and those of one such kind, on all servers, and no statement that ends a lease
-- need know of limits. Who holds these locks waits for no other: live rows that are locked are passed over.
-- locks: 4 5
with allowed as materialized (
    select room, at, by_kind, rated from starts_of($5::int4, $9::int4)
),
line as materialized (
    select l.id, l.at, l.run_at, w.priority
    from (
        select lane_id, priority, take, floor
        from unnest($1::int4[], $2::int2[], $3::int4[], $4::timestamptz[]) as w (lane_id, priority, take, floor)
        where w.lane_id not in (
            -- use lanes-of-limited-kinds
            select n.id
            from lane n join kind k on k.id = n.kind_id
            where n.id = any($1::int4[]) and is_limited(k) and k.id is distinct from $9::int4
            -- end of lanes-of-limited-kinds
        )
        order by priority desc
    ) w
    cross join lateral (
        -- use lock-ready-rows (most = least(w.take, (select room from allowed)))
        select l.id, l.ctid as at, l.run_at
        from live_job l
        where l.state = 1 and l.lane_id = w.lane_id and l.priority = w.priority
            and l.run_at >= w.floor and l.run_at <= now()
        order by l.run_at, l.id
        limit least(w.take, (select room from allowed))
        for update skip locked
        -- end of lock-ready-rows
    ) l
),
dealt as materialized (
    -- use deal-rows (most = least(cardinality(:slots::int8[]), (select room from allowed)))
    select at, row_number() over (order by priority desc, run_at, id) as slot
    from line
    order by priority desc, run_at, id
    limit least(cardinality($6::int8[]), (select room from allowed))
    -- end of deal-rows
),
present as materialized (
    -- use sessions-there
    select s.id
    from worker_session s
    where s.id = any($7::int8[]) and s.ended_at is null
        and (s.id, s.epoch) in (select * from unnest($7::int8[], $8::int4[]))
    -- end of sessions-there
),
leased as (
    -- use lease-rows (at = (select at from allowed); more = counted = true,)
    update live_job l
    set state = 2,
        counted = true,
        attempts = l.attempts + 1,
        session_id = ($6::int8[])[d.slot],
        changed_at = (select at from allowed),
        deadline = (select at from allowed) + l.timeout_ms * interval '1 millisecond'
    from dealt d
    where l.ctid = d.at and ($6::int8[])[d.slot] in (select id from present)
    returning l.id, l.lane_id, l.priority, l.run_at, l.attempts, l.session_id, l.failures, l.changed_at
    -- end of lease-rows
)
-- use leased-and-room
select null::uuid as id, null::int4 as lane_id, null::int2 as priority,
       case when rated then started_of($5::int4, $9::int4, by_kind, at, (select count(*)::int4 from leased)) end as run_at,
       room as attempts, null::int8 as session_id, by_kind::int4::int2 as failures, at as changed_at
from allowed
union all
select id, lane_id, priority, run_at, attempts, session_id, failures, changed_at from leased
-- end of leased-and-room
