-- admit: held back by its key -> queued, retrying, leased; as many as there are permits for
-- (made of admit.sql.in: change it there, and run make generate)
-- $1 semaphores int8[]: that may admit one $2 most int4: how many jobs, at most
-- $3 lanes int4[]: sorted; where nothing goes before who is admitted. Jobs of each may take so many of the offered slots:
-- $4 after int4[]: after which slot $5 counts int4[]: how many; lanes that share slots have the same $4 and $5
-- $6 slots int8[]: the sessions of the offered ones $7 holders int8[]: each session once $8 epochs int4[]: of these
-- $9 in_line int4: how many jobs of a key may stand in line where keys take turns
-- locks: 6
-- The limit and the rate are those that the queue has now, so a change of them needs no change of semaphores. What is said of
-- one key stands in its semaphore (own_limit; 0: it is paused), so it is what it was when the lock was taken.
-- Under the semaphore's lock no other statement counts its permits. Live rows are taken with `skip locked` only: who cancels one
-- has its lock and waits for the semaphore. What was missed so, or committed after this snapshot while it waited for the lock,
-- is counted in `waiting` and not found: its key goes on calling (admit_at), and the next statement has it: `again`.
-- Who is admitted takes a slot, the highest priority first, or stands at the end of its line (run_at = now()), so the keys take
-- turns. As in a claim a paused lane, an isolated job and a session that is no longer in its epoch take no part in slots.
-- A rate (GCRA) admits jobs as time goes on: `tat` is the time up to which it is used up. Without workers a line would
-- gather what an hour allows, to start it at once; so a key with a rate has no more than its burst in line.
-- Where keys take turns, a key has a bound of jobs in line, and is asked for more once one of these has started. What stands
-- in line is looked at here, as for a rate: so no claim has to count it, and nothing can drift. Those of one key stand together,
-- the keys in an order that is drawn each time (`ahead`): else a claim would always cut off the same ones.
-- In strict order none overtakes the first one that waits: where that one is locked, none is admitted. Nor is one of a key that
-- is blocked, which calls in vain.
-- A key that a worker has paused (paused_until) admits none before that time, at which it calls, while its queue limits keys.
-- Values go by arrays and width_bucket: a join of two lists of this statement is planned for ten rows, and takes ms for 500.
-- Each `offset 0` keeps the planner from computing a step's values once for each of their uses, as `materialized` does, and
-- the rows are not copied. date_part is a float8: extract is a numeric, which becomes one by way of its digits.
-- No array has nulls: to find an element PostgreSQL would step through all before it.
with called as materialized (
    select
        t.id, t.taken, t.waiting, t.admit_at, q.key_order is not null as strict,
        case
            when t.blocked_by is not null then 0
            when q.key_order is not null then least(t.own_limit, 1)
            else coalesce(t.own_limit, q.key_max_running, 2147483647)
        end as most,
        -- In us: from one to the next, and until when the rate is used up.
        q.key_rate_period_ms * 1000::float8 / q.key_rate_count as every,
        date_part('epoch', t.tat) * 1000000 as tat,
        coalesce(nullif(q.key_rate_burst, 0), greatest(ceil(q.key_rate_count * 50.0 / q.key_rate_period_ms), 1)::int4) as burst,
        case when q.key_fair then $9::int4 end as turn,
        case when t.paused_until > now() and q.limits_keys then t.paused_until end as paused_until
    from semaphore t
    join queue q on q.id = t.queue_id
    where t.id = any($1::int8[]) and (t.admit_at <= now() or (q.key_fair and t.waiting > 0))
    order by t.id
    for update of t
),
counted as (
    -- When the row is locked: what another statement has used up while this one waited for it is no more than a burst after it.
    select c.*, date_part('epoch', clock_timestamp()) * 1000000 as locked_at
    from called c
    offset 0
),
timed as (
    select
        c.id, c.waiting, c.strict, c.every, c.burst, c.turn, c.admit_at, c.paused_until, n.now,
        c.most - c.taken as room,
        coalesce(c.admit_at <= now(), c.turn is not null) as calls,
        greatest(least(coalesce(c.tat, n.now), n.now + c.burst * c.every), n.now) as tat,
        -- One that is further ahead is from before the rate was raised, or the clock set back. It is forgotten here.
        case when c.tat is not null then least(c.tat, c.locked_at + c.burst * c.every) end as before,
        -- The bound of a rate is held also by two statements at once: the function sees what the other has let in.
        case when c.every is not null then c.most_in_line - jobs_in_line(c.id, c.most_in_line) when c.most_in_line is not null then (
            select c.most_in_line - count(*)
            from (select from live_job l where l.semaphore_id = c.id and l.hold is null and l.state in (1, 4) limit c.most_in_line) l
        ) end as places
    from (select c.*, least(case when every is not null then burst end, turn) as most_in_line from counted c) c
    cross join (select date_part('epoch', now()) * 1000000 as now) n
    offset 0
),
open as (
    -- least() passes over nulls: without a rate there are no places and no allowance.
    select
        t.*,
        case when t.calls and t.paused_until is null then
            greatest(least(t.waiting, t.room, t.places, floor((t.now + t.burst * t.every - t.tat) / t.every + 0.000001)), 0)
        else 0 end as may
    from timed t
    offset 0
),
share as materialized (
    select
        o.*,
        greatest(least(o.may, $2::int4 - (sum(o.may) over (order by o.id) - o.may)), 0)::int4 as take,
        case when o.strict then (
            select h.id from live_job h
            where h.semaphore_id = o.id and h.hold = 1
            order by h.priority desc, h.run_at, h.id
            limit 1
        ) end as head,
        case when o.turn is not null then random() * interval '1 millisecond' end as ahead
    from open o
),
next as materialized (
    select
        l.at, l.isolated, l.priority, s.ahead,
        case when not l.isolated and ($3::int4[])[l.place] = l.lane_id
            and l.lane_id not in (select id from lane where id = any($3::int4[]) and closed) then l.place end as place
    from share s
    cross join lateral (
        select
            l.ctid as at, l.priority, l.lane_id, l.losses + l.unseen >= 2 as isolated,
            width_bucket(l.lane_id, $3::int4[]) as place
        from live_job l
        where l.semaphore_id = s.id and l.hold = 1 and (s.head is null or l.id = s.head)
        order by l.priority desc, l.run_at, l.id
        limit s.take
        for update skip locked
    ) l
),
present as materialized (
    select s.id
    from worker_session s
    where s.id = any($7::int8[]) and s.ended_at is null
        and (s.id, s.epoch) in (select * from unnest($7::int8[], $8::int4[]))
),
given as materialized (
    select at, isolated, ahead, case when session_id in (select id from present) then session_id end as session_id
    from (
        select
            at, isolated, ahead,
            case when slot <= ($5::int4[])[place] then ($6::int8[])[($4::int4[])[place] + slot] end as session_id
        from (
            select n.*, row_number() over (partition by ($4::int4[])[place] order by priority desc) as slot from next n
        ) n
    ) n
),
moved as (
    update live_job l
    set state = case when s.session_id is not null then 2 when s.isolated then 4 else 1 end,
        hold = null,
        run_at = coalesce(now() - s.ahead, now()),
        attempts = case when s.session_id is null then l.attempts else l.attempts + 1 end,
        session_id = s.session_id,
        changed_at = case when s.session_id is null then l.changed_at else now() end,
        deadline = case when s.session_id is not null then now() + l.timeout_ms * interval '1 millisecond' end
    from given s
    where l.ctid = s.at
    returning l.semaphore_id, l.id, l.lane_id, l.priority, l.state, l.attempts, l.session_id, l.failures
),
got as materialized (
    select array_agg(semaphore_id order by semaphore_id) as ids, array_agg(n order by semaphore_id) as n
    from (select semaphore_id, count(*)::int4 as n from moved group by semaphore_id) m
),
admitted as (
    select
        s.*,
        coalesce(case when ((select ids from got))[place] = id then ((select n from got))[place] end, 0) as got
    from (select s.*, width_bucket(s.id, coalesce((select ids from got), '{}')) as place from share s) s
    offset 0
),
turning as materialized (
    select
        id, got,
        case when got = 0 then before when every is not null then tat + got * every end as tat,
        case
            when waiting <= got then null
            when paused_until is not null then paused_until
            when not calls then admit_at
            when got < take or take < may then now()
            when room <= got or every is null then null
            -- Its places in line are taken. The longer no job of it starts, the later it asks again, 5 s at most.
            when got = 0 and places <= 0
                then now() + least(greatest(now - before, every, 20000), 5000000) * interval '1 microsecond'
            else now() + greatest(tat + (got + 1 - burst) * every - now, 0) * interval '1 microsecond'
        end as admit_at
    from admitted
),
done as materialized (
    select
        array_agg(id order by id) as ids,
        array_agg(got order by id) as got,
        array_agg(coalesce(to_timestamp(tat / 1000000), 'infinity') order by id) as tat,
        array_agg(coalesce(admit_at, 'infinity') order by id) as admit_at
    from turning
),
turned as (
    update semaphore t
    set taken = t.taken + ((select got from done))[width_bucket(t.id, (select ids from done))],
        waiting = t.waiting - ((select got from done))[width_bucket(t.id, (select ids from done))],
        tat = nullif(((select tat from done))[width_bucket(t.id, (select ids from done))], 'infinity'),
        admit_at = nullif(((select admit_at from done))[width_bucket(t.id, (select ids from done))], 'infinity')
    where t.id = any((select ids from done)::int8[])
),
lines as (
    select lane_id, priority, state = 4 as isolated, count(*)::int4 as jobs
    from moved where session_id is null group by lane_id, priority, state
),
leased as (
    select
        array_agg(id) as ids, array_agg(lane_id) as lanes, array_agg(priority) as priorities, array_agg(attempts) as attempts,
        array_agg(session_id) as sessions, array_agg(failures) as failures
    from moved where session_id is not null
)
select
    (select array_agg(lane_id) from lines) as lanes,
    (select array_agg(priority) from lines) as priorities,
    (select array_agg(isolated) from lines) as isolated,
    (select array_agg(jobs) from lines) as jobs,
    (select array_agg(id) from turning where admit_at <= now()) as again,
    (select min(admit_at) from turning where admit_at > now()) as next_call,
    now() as now,
    l.ids as leased, l.lanes as leased_lanes, l.priorities as leased_priorities, l.attempts as leased_attempts,
    l.sessions as leased_sessions, l.failures as leased_failures
from leased l
