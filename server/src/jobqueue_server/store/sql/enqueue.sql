-- enqueue: - -> queued, or leased in the same breath (hand-off)
-- $1 id uuid[]          $2 lane_id int4[]       $3 payload bytea[] (JSON text)
-- $4 session_id int8[]  $5 epoch int4[]         the seat that a hand-off reserved; null: to the backlog
-- $6 priority int2[]    $7 run_at timestamptz[] $8 delay_ms int8[]   $9 max_attempts int2[]  $10 timeout_ms int4[]
-- $11 min_backoff_ms    $12 max_backoff_ms int4[]  $13 labels text[] (JSON)  $14 headers bytea[]  $15 key text[]
-- $16 key digest bytea[]  $17 request digest bytea[]  $18 namespace_id int4  $19 ttl of keys interval: empty arrays where
-- no job of the batch has a key; else every job has one, and each key stands once.
-- An array that is shorter than $1 gives nulls: a column that nobody in the batch uses is sent empty.
-- A hand-off holds only while its session is still in its epoch and its lane has no gate, in this very snapshot;
-- else the job waits in the backlog, and its id is among `refused`. run_at is never stored in the past, so that
-- the order in line is the order of the index.
-- Keys are written in the order of their digests: two inserts in opposite order deadlock. An expired key is taken over.
-- A job whose key is somebody else's is not stored, and not among `stored`; find_keys.sql then reads the winner.
with keyed as (
    insert into idempotency_key (namespace_id, digest, job_id, request_digest, expires_at)
    select $18::int4, k.digest, k.job_id, k.request_digest, now() + $19::interval
    from unnest($16::bytea[], $1::uuid[], $17::bytea[]) as k (digest, job_id, request_digest)
    where k.digest is not null
    order by k.digest
    on conflict (namespace_id, digest) do update
        set job_id = excluded.job_id, request_digest = excluded.request_digest, expires_at = excluded.expires_at
        where idempotency_key.expires_at <= now()
    returning job_id
),
asked as materialized (
    select *
    from unnest(
        $1::uuid[], $2::int4[], $3::bytea[], $4::int8[], $5::int4[], $6::int2[], $7::timestamptz[], $8::int8[],
        $9::int2[], $10::int4[], $11::int4[], $12::int4[], $13::text[], $14::bytea[], $15::text[]
    ) as a (
        id, lane_id, payload, session_id, epoch, priority, run_at, delay_ms,
        max_attempts, timeout_ms, min_backoff_ms, max_backoff_ms, labels, headers, key
    )
    where cardinality($16::bytea[]) = 0 or a.id in (select job_id from keyed)
),
seat as materialized (
    select s.id, s.epoch from worker_session s where s.id = any($4::int8[]) and s.ended_at is null
),
gate as materialized (
    select id from lane where id = any($2::int4[]) and gated
),
placed as materialized (
    select
        a.*,
        greatest(coalesce(a.run_at, now() + a.delay_ms * interval '1 millisecond', now()), now()) as starts_at,
        case
            when (a.session_id, a.epoch) in (select id, epoch from seat) and a.lane_id not in (select id from gate)
                then a.session_id
        end as holder
    from asked a
),
body as (
    insert into job (
        id, run_at, lane_id, priority, max_attempts, timeout_ms, min_backoff_ms, max_backoff_ms,
        labels, headers, idempotency_key, payload
    )
    select
        id, starts_at, lane_id, coalesce(priority, 0), coalesce(max_attempts, 3), timeout_ms, min_backoff_ms,
        max_backoff_ms, labels::jsonb, headers, key, payload
    from placed
),
live as (
    insert into live_job (
        id, run_at, lane_id, priority, max_attempts, timeout_ms, state, attempts, session_id, deadline
    )
    select
        id, starts_at, lane_id, coalesce(priority, 0), coalesce(max_attempts, 3), timeout_ms,
        case when holder is null then 1 else 2 end, case when holder is null then 0 else 1 end, holder,
        case when holder is not null then now() + timeout_ms * interval '1 millisecond' end
    from placed
)
select
    now() as at,
    case when cardinality($16::bytea[]) > 0 then array_agg(id) end as stored,
    array_agg(id) filter (where session_id is not null and holder is null) as refused
from placed
