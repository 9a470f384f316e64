-- end: leased -> queued, retrying, failed_permanent or cancelled
-- $1 id uuid[], sorted  $2 attempt int4[]  $3 session_id int8[]  $4 event int2[] (lifecycle.Event)
-- $5 permanent bool[]   $6 after_ms int8[] (the worker's own backoff or snooze; null: ours)
-- $7 error_type text[]  $8 message text[]  $9 stack text[]
-- $10 min_backoff_ms, $11 max_backoff_ms int4: where neither job nor kind has its own; $12 losses allowed int4
-- $13 expected timestamptz: no deadline is over while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- Every way out of RUNNING but success, by the table in lifecycle.py. The triple (id, attempt, session) is the fence;
-- a timeout and the end of a cancel grace also want the deadline still to be over. Rows lock in the order of ids.
-- A job whose losses and unseen ends come to two waits isolated (state 4; ISOLATED_FROM in lifecycle.py).
-- A job with a token of its key gives it back. If it goes on, it is held back until its run_at, then by its key. But in strict
-- order it keeps the token and waits in its line, as long as a worker has paused the key at least; and where it fails for good, its key may be blocked, by what its queue says.
-- Its next start counts at the key's rate (GCRA, as in admit.sql), and waits for it.
-- locks: 2 6
with told as materialized (
    select *
    from unnest(
        $1::uuid[], $2::int4[], $3::int8[], $4::int2[], $5::bool[], $6::int8[], $7::text[], $8::text[], $9::text[]
    ) as t (id, attempt, session_id, event, permanent, after_ms, error_type, message, stack)
),
held as materialized (
    select l.*
    from live_job l
    where l.id = any($1::uuid[])
        and (l.id, l.attempts, l.session_id) in (select id, attempt, session_id from told)
    order by l.id
    for update
),
-- What each event charges, and the policy that its backoff is drawn from. A failure's own wait is spread over a tenth more,
-- so that jobs that ask for the same one do not come back together, and stays within 400 days. A snooze is exact.
charged as materialized (
    select
        h.id, h.lane_id, h.priority, h.attempts, h.session_id, h.changed_at, h.cancel_requested_at, h.max_attempts,
        h.backoff_ms, h.semaphore_id,
        coalesce(q.strict, false) as strict, case when q.strict then q.every end as every, q.burst,
        t.event, coalesce(t.permanent, false) as permanent, t.error_type, t.message, t.stack,
        h.failures + case when t.event in (1, 8) then 1 else 0 end as failures,
        h.losses + case when t.event = 7 then 1 else 0 end as losses,
        case when t.event = 12 then h.unseen + 1 else h.unseen end as unseen,
        t.after_ms + case
            when t.event = 1 then floor(random() * (least(t.after_ms / 10, 34560000000 - t.after_ms) + 1))::int8
            else 0
        end as after_ms,
        case
            when t.event in (1, 8) and t.after_ms is null then next_backoff_ms(
                h.backoff_ms,
                coalesce(j.min_backoff_ms, k.min_backoff_ms, $10::int4),
                coalesce(j.max_backoff_ms, k.max_backoff_ms, $11::int4)
            )
        end as drawn_ms
    from held h
    join told t on t.id = h.id
    left join job j on j.id = h.id and t.event in (1, 8)
    left join lane on lane.id = h.lane_id
    left join kind k on k.id = lane.kind_id
    left join lateral (
        select
            q.key_order is not null as strict,
            q.key_rate_period_ms * interval '1 millisecond' / q.key_rate_count as every,
            coalesce(nullif(q.key_rate_burst, 0), greatest(ceil(q.key_rate_count * 50.0 / q.key_rate_period_ms), 1)::int4) as burst
        from queue q where q.id = lane.queue_id and h.semaphore_id is not null
    ) q on true
    where t.event not in (8, 10)
        or (
            h.deadline <= now()
            and now() between $13::timestamptz - interval '5 seconds' and $13::timestamptz + interval '5 seconds'
        )
),
verdict as materialized (
    select
        c.*,
        case
            when event = 11 then 5
            when event in (2, 10) or cancel_requested_at is not null then 6
            when event in (1, 8) and (permanent or failures >= max_attempts) then 5
            when event = 7 and losses >= $12::int4 then 5
            when failures + losses > 0 then 4
            else 1
        end as status,
        losses + unseen >= 2 as isolated,
        greatest(
            now() + coalesce(after_ms, drawn_ms, 0) * interval '1 millisecond', t.paused_until, t.tat - (burst - 1) * every
        ) as next_run_at,
        t.tat
    from charged c
    left join lateral (
        select t.paused_until, case when t.tat is not null then least(t.tat, now() + c.burst * c.every) end as tat
        from semaphore t where t.id = c.semaphore_id and c.strict
    ) t on true
),
back as (
    update live_job l
    set state = case when v.semaphore_id is not null and not v.strict then 3 when v.isolated then 4 else 1 end,
        hold = case when v.semaphore_id is not null and not v.strict then 2 end,
        session_id = null,
        deadline = null,
        changed_at = now(),
        run_at = v.next_run_at,
        backoff_ms = coalesce(v.drawn_ms, v.backoff_ms),
        failures = v.failures,
        losses = v.losses,
        unseen = v.unseen
    from verdict v
    where l.id = v.id and v.status in (1, 4)
),
gone as (
    delete from live_job l using verdict v where l.id = v.id and v.status in (5, 6)
),
ended as (
    insert into finished_job (id, started_at, session_id, attempts, status, failures, losses, reason)
    select
        id, changed_at, session_id, attempts, status, failures, losses,
        case
            when status = 6 and event = 10 then 'CANCEL_GRACE_ENDED'
            when status = 6 and event = 2 and cancel_requested_at is null then 'CANCELLED_BY_WORKER'
            when status = 6 then 'CANCELLED_BY_CALLER'
            when event = 11 then 'BODY_MISSING'
            when event = 7 then 'LOST_TOO_OFTEN'
            when permanent then 'NOT_RETRYABLE'
            else 'ATTEMPTS_EXHAUSTED'
        end
    from verdict
    where status in (5, 6)
),
tried as (
    insert into attempt (job_id, attempt, started_at, session_id, outcome, reason, error_type, message, stack)
    select
        id, attempts, changed_at, session_id,
        case event when 10 then 2 when 11 then 1 when 12 then 6 else event end,
        case event when 1 then 'HANDLER_FAILED' when 7 then 'SESSION_LOST' when 8 then 'TIMED_OUT' when 11 then 'BODY_MISSING' end,
        error_type, message, stack
    from verdict
),
freed as materialized (
    select
        array_agg(semaphore_id order by semaphore_id) as ids,
        array_agg(taken order by semaphore_id) as taken,
        bool_or(failed is not null) as any_failed,
        array_agg(failed order by semaphore_id) as failed,
        array_agg(coalesce(tat, '-infinity') order by semaphore_id) as tat
    from (
        select
            semaphore_id,
            (count(*) filter (where not keeps))::int4 as taken,
            (array_agg(id order by id) filter (where strict and not keeps))[1] as failed,
            max(greatest(tat, next_run_at) + every) filter (where keeps) as tat
        from (select v.*, strict and status in (1, 4) as keeps from verdict v where semaphore_id is not null) v
        where not keeps or every is not null
        group by semaphore_id
    ) s
),
turned as (
    update semaphore t
    -- use give-back (more = ,)
    set taken = t.taken - ((select taken from freed))[width_bucket(t.id, (select ids from freed))],
        waiting = t.waiting - 0,
        admit_at = case
            when t.waiting <= 0 then null
            when ((select taken from freed))[width_bucket(t.id, (select ids from freed))] > 0
                then coalesce(t.admit_at, now())
            else t.admit_at
        end,
    -- end of give-back
        tat = nullif(greatest(t.tat, ((select tat from freed))[width_bucket(t.id, (select ids from freed))]), '-infinity'),
        -- use block-key
        blocked_by = case
            when t.blocked_by is null and (select any_failed from freed) then (
                select ((select failed from freed))[width_bucket(t.id, (select ids from freed))]
                from queue q
                where q.id = t.queue_id and (q.key_on_failure = 2 or (q.key_on_failure = 3 and t.waiting > 0))
            )
            else t.blocked_by
        end,
        cancels_to = case
            when t.blocked_by is null and t.waiting > 0 and (select any_failed from freed) then (
                select greatest(t.last_at, clock_timestamp())
                from queue q
                where q.id = t.queue_id and q.key_on_failure = 3
                    and ((select failed from freed))[width_bucket(t.id, (select ids from freed))] is not null
            )
            else t.cancels_to
        end
        -- end of block-key
    where t.id = any((select ids from freed)::int8[])
)
select
    id, attempts, session_id, event, lane_id, priority, status, failures, losses, isolated,
    changed_at as started_at, now() as at,
    case when status in (1, 4) then next_run_at end as run_at,
    case when not (strict and status in (1, 4)) then semaphore_id end as semaphore_id
from verdict
