-- enqueue: - -> queued, held back, or leased in the same statement (hand-off), where queues limit how many of their jobs run or start
-- (made of enqueue.sql.in: change it there, and run make generate)
-- $1 ids uuid[]  $2 payloads bytea[] (JSON text)
-- Jobs that follow each other and are alike in all else are a run, and what they have in common stands once:
-- $3 firsts int8[]: the number of its first job, from 1  $4 lanes int4[]
-- $5 sessions int8[]  $6 epochs int4[]: the slots that a hand-off reserved; 0: to the backlog
-- $7 run_at timestamptz[]  $8 delay_ms int8[]  $13 hold int2[] (lifecycle.Hold; null: not held back, as no slot's job is)
-- $14 patience text: how long it waits for a lock, as '250ms', and then it ends (55P03); null: as long as a statement may take
-- $15 priority int2[]  $16 max_attempts int2[]  $17 timeout_ms int4[]  $18 min_backoff_ms int4[]
-- $19 max_backoff_ms int4[]  $20 labels text[]  $21 headers bytea[]  $22 idempotency_key text[]
-- $24 unique_name text[]
-- For each job, and empty where no job of the batch has one:
-- $23 key text[]
-- For each job again, but empty where no job of the batch has an idempotency key; else every job has one, is a run of its own,
-- and each key stands once:
-- $9 digests bytea[]: of the keys  $10 requests bytea[]: the digest of the request, 16 bytes, and of its principal
-- $11 namespaces int4[]  $12 key_ttl interval
-- locks: 3 4
-- The queues that are asked, sorted, of which no job here has a key that is limited too:
-- $25 queue_id int4[]
-- An array of $7, $8, $13 or from $15 on that is empty gives nulls. A column that no job of the batch uses is sent as that.
-- A hand-off holds only while its session is still in its epoch and its lane has no gate, in this very snapshot;
-- else the job waits in the backlog, and its id is among `refused`. run_at is never stored in the past, so that
-- the order in line is the order of the index.
-- A lane that no server made sure of for a day may be forgotten meanwhile: refuse_lanes ends the statement.
-- A run's values are found by its place in their arrays: no join, and no search in those of numbers without nulls.
-- A job whose key belongs to another job is not stored, and not among `stored`; find_keys.sql then reads that other job.
-- A lane of a queue that is asked counts as open where its kind has no limits. Of jobs with a slot there the first ones are
-- leased, as many as the queue allows, and marked; the others wait, and are among `refused`.
-- Queues lock as claim_counted.sql locks them, in the order of their ids, after the idempotency keys.
with patience as materialized (
    select set_config('lock_timeout', $14::text, true) is not null as is_set
),
keyed as (
    insert into idempotency_key (namespace_id, key_digest, job_id, request_digest, owner, expires_at)
    select
        k.namespace_id, k.digest, k.job_id, substring(k.request for 16), substring(k.request from 17), now() + $12::interval
    from unnest($9::bytea[], $1::uuid[], $10::bytea[], $11::int4[]) as k (digest, job_id, request, namespace_id)
    where k.digest is not null and ($14::text is null or (select is_set from patience))
    order by k.digest
    on conflict (namespace_id, key_digest) do update
        set job_id = excluded.job_id, request_digest = excluded.request_digest, owner = excluded.owner,
            expires_at = excluded.expires_at
        where idempotency_key.expires_at <= now()
    returning job_id
),
present as materialized (
    select s.id, s.epoch from worker_session s where s.id = any($5::int8[]) and s.ended_at is null
),
counted as materialized (
    select n.id, n.queue_id
    -- First the lanes of the jobs: the planner would go through all lanes and all kinds.
    from (select id, queue_id, kind_id from lane where id = any($4::int4[]) and closed offset 0) n
    where not (select is_limited(k) from kind k where k.id = n.kind_id) and n.queue_id = any(
        $25::int4[]
    )
),
in_use as materialized (
    select id from lane where id = any($4::int4[]) and used_at > now() - interval '1 day'
),
gate as materialized (
    select id from lane where id = any($4::int4[]) and closed and id not in (select id from counted)
),
run as materialized (
    select
        array_agg(
            case
                when (r.session_id, r.epoch) in (select id, epoch from present)
                    and r.lane_id not in (select id from gate)
                    then r.session_id
                else 0
            end order by r.number
        ) as holder,
        case
            when $4::int4[] <@ array(select id from in_use) then array_agg(
                greatest(coalesce(r.run_at, now() + r.delay_ms * interval '1 millisecond', now()), now())
                order by r.number
            )
            when refuse_lanes() then null
        end as starts_at,
        -- Of a lane of a queue that is asked: that queue.
        array_agg((select queue_id from counted where id = r.lane_id) order by r.number) as queue
    from unnest($4::int4[], $5::int8[], $6::int4[], $7::timestamptz[], $8::int8[])
        with ordinality as r (lane_id, session_id, epoch, run_at, delay_ms, number)
),
allowed as materialized (
    select
        array_agg(q.id order by q.id) as queues,
        array_agg(s.room order by q.id) as rooms,
        max(s.at) as at,
        array_agg(q.id order by q.id) filter (where s.rated) as rated,
        bool_or(s.room < cardinality($1::uuid[])) as scarce
    from unnest(
        -- Once all else is locked.
        case
            when (select count(*) from keyed) >= 0 and ($14::text is null or (select is_set from patience)) then
                $25::int4[]
        end
    ) q (id)
    cross join lateral starts_of_queue(q.id) s
),
beyond as materialized (
    select number
    from (
        select a.number, a.queue, row_number() over (partition by a.queue order by a.number) as turn
        from (
            select
                a.number,
                ((select queue from run))[width_bucket(a.number, $3::int8[])] as queue,
                ((select holder from run))[width_bucket(a.number, $3::int8[])] as holder
            from unnest($1::uuid[]) with ordinality as a (id, number)
            where (select scarce from allowed)
                and (cardinality($9::bytea[]) = 0 or a.id in (select job_id from keyed))
        ) a
        where a.queue is not null and a.holder <> 0
    ) a
    where a.turn > ((select rooms from allowed))[width_bucket(a.queue, (select queues from allowed))]
),
placed as materialized (
    select
        a.id,
        a.payload,
        a.key,
        width_bucket(a.number, $3::int8[]) as run,
        ((select starts_at from run))[width_bucket(a.number, $3::int8[])] as starts_at,
        ((select queue from run))[width_bucket(a.number, $3::int8[])] as queue,
        case
            when (select scarce from allowed) and a.number in (select number from beyond) then null
            else nullif(((select holder from run))[width_bucket(a.number, $3::int8[])], 0)
        end as holder
    from unnest(
        $1::uuid[], $2::bytea[],
        $23::text[]
    ) with ordinality as a (
        id, payload,
        key,
        number
    )
    where cardinality($9::bytea[]) = 0 or a.id in (select job_id from keyed)
),
body as (
    insert into job (
        id, run_at, lane_id,
        priority, max_attempts, timeout_ms, min_backoff_ms, max_backoff_ms, labels, headers, idempotency_key, key,
        unique_name,
        payload
    )
    select
        id, starts_at, ($4::int4[])[run],
        coalesce(($15::int2[])[run], 0), coalesce(($16::int2[])[run], 3), ($17::int4[])[run], ($18::int4[])[run],
        ($19::int4[])[run], ($20::text[])[run]::jsonb, ($21::bytea[])[run], ($22::text[])[run], key,
        ($24::text[])[run]::jsonb,
        payload
    from placed
),
live as (
    insert into live_job (
        id, run_at, lane_id,
        priority, max_attempts, timeout_ms,
        state, hold, attempts, session_id, counted, changed_at, deadline
    )
    select
        id, starts_at, ($4::int4[])[run],
        coalesce(($15::int2[])[run], 0), coalesce(($16::int2[])[run], 3), ($17::int4[])[run],
        case when holder is not null then 2 when ($13::int2[])[run] is null then 1 else 3 end, ($13::int2[])[run],
        case when holder is null then 0 else 1 end, holder,
        case when holder is not null and queue is not null then true end,
        (select at from allowed),
        case when holder is not null then (select at from allowed) + interval '1 millisecond' *
            ($17::int4[])[run]
        end
    from placed
)
select
    (select at from allowed) as at,
    case when cardinality($9::bytea[]) > 0 then (select array_agg(id) from placed) end as stored,
    case
        when (select holder from run) <> $5::int8[] or exists (select from beyond)
            then (select array_agg(id) from placed where holder is null and ($5::int8[])[run] <> 0)
    end as refused,
    -- What the queues with a rate have let start is noted.
    (
        select count(started_of_queue(q.id, (select at from allowed), (
            select count(*)::int4 from placed p where p.queue = q.id and p.holder is not null
        )))
        from unnest((select rated from allowed)) q (id)
    ) as rated
