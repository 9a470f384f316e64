-- jobs: queued, retrying or held back -> the same, with what later jobs of their names bring
-- $1 id uuid[]: jobs that judge_names.sql has locked, or that this transaction has stored; sorted
-- For each: $2 fields int2[] (bit n: field n of model.UniqueField, 1 payload, 2 run_at, 3 priority, 4 labels, 5 headers,
-- 6 max_attempts, 7 timeout), and the values of those: $3 payload bytea[]  $4 headers bytea[]  $5 labels text[]
-- $6 priority int2[]  $7 max_attempts int2[]  $8 timeout_ms int4[]
-- $9 run_at timestamptz[]  $10 delay interval[]  $11 at most so long after its enqueue interval[]
-- $12, $13 uuid: the smallest of the ids, the greatest
-- This is the one statement that changes what was asked for. A claim whose snapshot is older than it can't take the job:
-- the row that it has seen is not where it lies now. So no worker gets the payload of before. Hence each row is written.
-- One that holds a token of its key, or waits for one, keeps its place there, and with it its run_at and its priority.
-- run_at is never stored in the past.
-- locks: 2
with asked as materialized (
    select *
    from unnest(
        $1::uuid[], $2::int2[], $3::bytea[], $4::bytea[], $5::text[], $6::int2[], $7::int2[], $8::int4[],
        $9::timestamptz[], $10::interval[], $11::interval[]
    ) as a (id, fields, payload, headers, labels, priority, max_attempts, timeout_ms, run_at, delay, most)
),
changed as (
    update live_job l
    set changed_at = now(),
        run_at = case
            when a.fields & 4 <> 0 and (l.semaphore_id is null or l.hold in (2, 4)) then greatest(
                now(), least(coalesce(a.run_at, now() + a.delay, now()), uuid_time(l.id) + a.most)
            )
            else l.run_at
        end,
        priority = case
            when a.fields & 8 <> 0 and (l.semaphore_id is null or l.hold in (2, 4)) then a.priority else l.priority
        end,
        max_attempts = case
            when a.fields & 64 <> 0 then greatest(coalesce(a.max_attempts, 3), l.failures + 1) else l.max_attempts
        end,
        timeout_ms = case when a.fields & 128 <> 0 then a.timeout_ms else l.timeout_ms end
    from asked a
    where l.id = a.id and l.state <> 2
    returning l.*
),
body as (
    update job j
    set run_at = c.run_at,
        priority = c.priority,
        max_attempts = c.max_attempts,
        timeout_ms = c.timeout_ms,
        payload = case when a.fields & 2 <> 0 then a.payload else j.payload end,
        labels = case when a.fields & 16 <> 0 then a.labels::jsonb else j.labels end,
        headers = case when a.fields & 32 <> 0 then a.headers else j.headers end
    from asked a
    join changed c on c.id = a.id
    where j.id = a.id and j.id = any($1::uuid[]) and j.id >= $12 and j.id <= $13
)
select lane_id, priority, run_at, state = 4 as isolated, hold from changed
