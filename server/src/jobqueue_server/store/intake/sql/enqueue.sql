-- enqueue: - -> queued, held back, or leased in the same statement (hand-off)
-- $1 id uuid[]  $2 payload bytea[] (JSON text)
-- Jobs that follow each other and are alike in all else are a run, and what they have in common stands once:
-- $3 number of its first job, from 1, int8[]  $4 lane_id int4[]
-- $5 session_id int8[]  $6 epoch int4[]         the slots that a hand-off reserved; 0: to the backlog
-- $7 run_at timestamptz[]  $8 delay_ms int8[]  $13 hold int2[] (lifecycle.Hold; null: not held back, as no slot's job is)
-- fields: parameters
-- $14 priority int2[]  $15 max_attempts int2[]  $16 timeout_ms int4[]  $17 min_backoff_ms int4[]
-- $18 max_backoff_ms int4[]  $19 labels text[]  $20 headers bytea[]  $21 idempotency_key text[]
-- $23 unique_name text[]
-- end of fields
-- For each job, and empty where no job of the batch has one:
-- fields: parameters of each job
-- $22 key text[]
-- end of fields
-- For each job again, but empty where no job of the batch has a key; else every job has one, is a run of its own, and
-- each key stands once: $9 key digest bytea[]  $10 bytea[] (the digest of the request, 16 bytes, and of its principal)
-- $11 namespace int4[]  $12 ttl of keys interval
-- An array of $7, $8 or from $13 on that is empty gives nulls. A column that no job of the batch uses is sent as that.
-- A hand-off holds only while its session is still in its epoch and its lane has no gate, in this very snapshot;
-- else the job waits in the backlog, and its id is among `refused`. run_at is never stored in the past, so that
-- the order in line is the order of the index.
-- Keys are written in the order of their digests: two inserts in opposite order deadlock. An expired key is taken over.
-- A job whose key belongs to another job is not stored, and not among `stored`; find_keys.sql then reads that other job.
-- A lane that no server made sure of for a day may be forgotten meanwhile: refuse_lanes ends the statement.
-- A run's values are found by its place in their arrays: no join, and no search in those of numbers without nulls.
with keyed as (
    insert into idempotency_key (namespace_id, key_digest, job_id, request_digest, owner, expires_at)
    select
        k.namespace_id, k.digest, k.job_id, substring(k.request for 16), substring(k.request from 17), now() + $12::interval
    from unnest($9::bytea[], $1::uuid[], $10::bytea[], $11::int4[]) as k (digest, job_id, request, namespace_id)
    where k.digest is not null
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
in_use as materialized (
    select id, gated from lane where id = any($4::int4[]) and used_at > now() - interval '1 day'
),
run as materialized (
    select
        array_agg(
            case
                when (r.session_id, r.epoch) in (select id, epoch from present)
                    and r.lane_id not in (select id from in_use where gated)
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
        end as starts_at
    from unnest($4::int4[], $5::int8[], $6::int4[], $7::timestamptz[], $8::int8[])
        with ordinality as r (lane_id, session_id, epoch, run_at, delay_ms, number)
),
placed as materialized (
    select
        a.id,
        a.payload,
        -- fields: of each job from a,
        a.key,
        -- end of fields
        width_bucket(a.number, $3::int8[]) as run,
        ((select starts_at from run))[width_bucket(a.number, $3::int8[])] as starts_at,
        nullif(((select holder from run))[width_bucket(a.number, $3::int8[])], 0) as holder
    from unnest(
        $1::uuid[], $2::bytea[],
        -- fields: arguments of each job
        $22::text[]
        -- end of fields
    ) with ordinality as a (
        id, payload,
        -- fields: of each job,
        key,
        -- end of fields
        number
    )
    where cardinality($9::bytea[]) = 0 or a.id in (select job_id from keyed)
),
body as (
    insert into job (
        id, run_at, lane_id,
        -- fields: columns,
        priority, max_attempts, timeout_ms, min_backoff_ms, max_backoff_ms, labels, headers, idempotency_key, key,
        unique_name,
        -- end of fields
        payload
    )
    select
        id, starts_at, ($4::int4[])[run],
        -- fields: values,
        coalesce(($14::int2[])[run], 0), coalesce(($15::int2[])[run], 3), ($16::int4[])[run], ($17::int4[])[run],
        ($18::int4[])[run], ($19::text[])[run]::jsonb, ($20::bytea[])[run], ($21::text[])[run], key,
        ($23::text[])[run]::jsonb,
        -- end of fields
        payload
    from placed
),
live as (
    insert into live_job (
        id, run_at, lane_id,
        -- fields: columns of live_job,
        priority, max_attempts, timeout_ms,
        -- end of fields
        state, hold, attempts, session_id, deadline
    )
    select
        id, starts_at, ($4::int4[])[run],
        -- fields: values of live_job,
        coalesce(($14::int2[])[run], 0), coalesce(($15::int2[])[run], 3), ($16::int4[])[run],
        -- end of fields
        case when holder is not null then 2 when ($13::int2[])[run] is null then 1 else 3 end, ($13::int2[])[run],
        case when holder is null then 0 else 1 end, holder,
        case when holder is not null then now() + interval '1 millisecond' *
            -- fields: timeout
            ($16::int4[])[run]
            -- end of fields
        end
    from placed
)
select
    now() as at,
    case when cardinality($9::bytea[]) > 0 then (select array_agg(id) from placed) end as stored,
    case
        when (select holder from run) <> $5::int8[]
            then (select array_agg(id) from placed where holder is null and ($5::int8[])[run] <> 0)
    end as refused
