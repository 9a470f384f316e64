-- claim: ready but isolated -> leased, where a queue or a kind limits how many of its jobs run or start
-- (made of claim_isolated.sql.in: change it there, and run make generate)
-- $1 lanes int4[]: at every priority, all of the queue $2 queue int4; $3 slots int8[]: the session of each, each session once
-- $4 epochs int4[]: theirs; $5 kind int4: of all lanes, as in claim_counted.sql
-- Within what claim_counted.sql keeps to, and with an answer like its.
-- locks: 4 5
-- A job whose losses and unseen ends come to two is isolated, and goes to a session that holds no other such job (the
-- caller sees to that): a job that kills its worker then takes no other such job with it. There are few, so no floor.
with allowed as materialized (
    select room, at, by_kind, rated from starts_of($2::int4, $5::int4)
),
line as materialized (
    select ready.at, ready.id, ready.run_at, p.priority
    from unnest($1::int4[]) as w (lane_id)
    cross join generate_series(10, -10, -1) as p (priority)
    cross join lateral (
        select l.ctid as at, l.id, l.run_at
        from live_job l
        where l.state = 4 and l.lane_id = w.lane_id and l.priority = p.priority::int2 and l.run_at <= now()
        order by l.run_at, l.id
        limit least(cardinality($3::int8[]), (select room from allowed))
        for update skip locked
    ) ready
    where w.lane_id not in (
        select n.id
        from lane n join kind k on k.id = n.kind_id
        where n.id = any($1::int4[]) and is_limited(k) and k.id is distinct from $5::int4
    )
),
dealt as materialized (
    select at, row_number() over (order by priority desc, run_at, id) as slot
    from line
    order by priority desc, run_at, id
    limit least(cardinality($3::int8[]), (select room from allowed))
),
present as materialized (
    select s.id
    from worker_session s
    where s.id = any($3::int8[]) and s.ended_at is null
        and (s.id, s.epoch) in (select * from unnest($3::int8[], $4::int4[]))
),
leased as (
    update live_job l
    set state = 2,
        counted = true,
        attempts = l.attempts + 1,
        session_id = ($3::int8[])[d.slot],
        changed_at = (select at from allowed),
        deadline = (select at from allowed) + l.timeout_ms * interval '1 millisecond'
    from dealt d
    where l.ctid = d.at and ($3::int8[])[d.slot] in (select id from present)
    returning l.id, l.lane_id, l.priority, l.run_at, l.attempts, l.session_id, l.failures, l.changed_at
)
select null::uuid as id, null::int4 as lane_id, null::int2 as priority,
       case when rated then started_of($2::int4, $5::int4, by_kind, at, (select count(*)::int4 from leased)) end as run_at,
       room as attempts, null::int8 as session_id, by_kind::int4::int2 as failures, at as changed_at
from allowed
union all
select id, lane_id, priority, run_at, attempts, session_id, failures, changed_at from leased
