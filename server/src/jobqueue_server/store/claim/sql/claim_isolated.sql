-- claim: ready but isolated -> leased
-- (made of claim_isolated.sql.in: change it there, and run make generate)
-- $1 lanes int4[]: at every priority; $2 slots int8[]: the session of each, each session once; $3 epochs int4[]: theirs
-- A job whose losses and unseen ends come to two is isolated, and goes to a session that holds no other such job (the
-- caller sees to that): a job that kills its worker then takes no other such job with it. There are few, so no floor.
with line as materialized (
    select ready.at, ready.id, ready.run_at, p.priority
    from unnest($1::int4[]) as w (lane_id)
    cross join generate_series(10, -10, -1) as p (priority)
    cross join lateral (
        select l.ctid as at, l.id, l.run_at
        from live_job l
        where l.state = 4 and l.lane_id = w.lane_id and l.priority = p.priority::int2 and l.run_at <= now()
        order by l.run_at, l.id
        limit cardinality($2::int8[])
        for update skip locked
    ) ready
    where w.lane_id not in (select id from lane where id = any($1::int4[]) and closed)
),
dealt as materialized (
    select at, row_number() over (order by priority desc, run_at, id) as slot
    from line
    order by priority desc, run_at, id
    limit cardinality($2::int8[])
),
present as materialized (
    select s.id
    from worker_session s
    where s.id = any($2::int8[]) and s.ended_at is null
        and (s.id, s.epoch) in (select * from unnest($2::int8[], $3::int4[]))
)
update live_job l
set state = 2,
    attempts = l.attempts + 1,
    session_id = ($2::int8[])[d.slot],
    changed_at = now(),
    deadline = now() + l.timeout_ms * interval '1 millisecond'
from dealt d
where l.ctid = d.at and ($2::int8[])[d.slot] in (select id from present)
returning l.id, l.lane_id, l.priority, l.run_at, l.attempts, l.session_id, l.failures, l.changed_at
