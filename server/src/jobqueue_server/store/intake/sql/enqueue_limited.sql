-- enqueue: - -> queued, held back, or leased in the same statement (hand-off), of jobs whose queue limits their key
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
-- For each job again, but empty where no job of the batch has an idempotency key; else those that have one are runs of their own,
-- and each key stands once:
-- $9 digests bytea[]: of the keys  $10 requests bytea[]: the digest of the request, 16 bytes, and of its principal
-- $11 namespaces int4[]  $12 key_ttl interval
-- locks: 3 6
-- For each job too, semaphore.id; null: nothing limits the job.
-- $25 semaphore_id int8[]
-- An array of $7, $8, $13 or from $15 on that is empty gives nulls. A column that no job of the batch uses is sent as that.
-- A hand-off holds only while its session is still in its epoch and its lane has no gate, in this very snapshot;
-- else the job waits in the backlog, and its id is among `refused`. run_at is never stored in the past, so that
-- the order in line is the order of the index.
-- A lane that no server made sure of for a day may be forgotten meanwhile: refuse_lanes ends the statement.
-- A run's values are found by its place in their arrays: no join, and no search in those of numbers without nulls.
-- A job whose key belongs to another job is not stored, and not among `stored`; find_keys.sql then reads that other job.
-- A job with a semaphore_id and no hold asks for a token. Those that get none wait for their key, and are among `kept`. Where
-- others wait already, none gets one: a key's jobs go in turn. Nor does one where the queue has a rate, which admit.sql
-- looks after. A job with a semaphore_id and a hold asks when it is let go.
-- Semaphores lock in the order of their ids, after the idempotency keys; nothing else here waits for a lock.
-- `granted` brings the limit to a row that is there, and the answer back. A key of which something is said has a row, which
-- has its own limit. Jobs wait behind a row that was written if, and only if, a job of this statement does: only then are
-- its jobs counted through (`waits`). In strict order the limit is 1.
-- Where keys take turns, one that has no job in line and none that runs gets one token; who is let in next is up to admit.sql.
-- In strict order a job that waits gets a run_at after that of all that came before, under the lock: of two enqueues the one
-- that is answered first goes first, whatever the clock does. Those of one insert are in the order of their ids. Of a blocked
-- key none is let in, nor of one that a worker has paused (paused_until).
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
in_use as materialized (
    select id, closed from lane where id = any($4::int4[]) and used_at > now() - interval '1 day'
),
run as materialized (
    select
        array_agg(
            case
                when (r.session_id, r.epoch) in (select id, epoch from present)
                    and r.lane_id not in (select id from in_use where closed)
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
came as materialized (
    select
        a.id,
        a.payload,
        a.key,
        a.semaphore_id,
        a.number,
        width_bucket(a.number, $3::int8[]) as run,
        case when ($13::int2[])[width_bucket(a.number, $3::int8[])] is null then a.semaphore_id end as asks
    from unnest(
        $1::uuid[], $2::bytea[],
        $23::text[],
        $25::int8[],
        $9::bytea[]
    ) with ordinality as a (
        id, payload,
        key,
        semaphore_id, digest, number
    )
    where cardinality($9::bytea[]) = 0 or a.digest is null or a.id in (select job_id from keyed)
),
policy as materialized (
    select
        array_agg(n.id order by n.id) as lanes,
        array_agg(q.id order by n.id) as queues,
        array_agg(
            case
                when q.key_rate_count is not null then 0
                when q.key_fair then 1
                else coalesce(q.key_max_running, 2147483647)
            end order by n.id
        ) as most,
        array_agg(case when q.key_rate_count is not null or q.key_fair then now() end order by n.id) as admit_at,
        array_agg(q.key_order is not null order by n.id) as ordered,
        array_agg(q.id) filter (where q.key_fair) as fair
    from lane n
    join queue q on q.id = n.queue_id
    where n.id = any($4::int4[])
),
asked as (
    insert into semaphore (id, queue_id, taken, waiting, granted, admit_at, last_at)
    select
        c.id, ((select queues from policy))[c.place], least(c.jobs, c.most), c.jobs - least(c.jobs, c.most), c.most,
        case when c.jobs > c.most then ((select admit_at from policy))[c.place] end,
        case when ((select ordered from policy))[c.place] then now() end
    from (
        select c.id, c.jobs, c.place, ((select most from policy))[c.place] as most
        from (
            select
                asks as id, count(*)::int4 as jobs, width_bucket(min(($4::int4[])[run]), (select lanes from policy)) as place
            from came where asks is not null and ($14::text is null or (select is_set from patience)) group by asks
        ) c
    ) c
    order by c.id
    on conflict (id) do update set
        granted = case
            when semaphore.waiting > 0 or excluded.granted = 0 or semaphore.blocked_by is not null
                or semaphore.paused_until > now()
                then 0
            else greatest(
                least(
                    coalesce(semaphore.own_limit, excluded.granted) - semaphore.taken,
                    case
                        when excluded.last_at is not null or excluded.queue_id = any((select fair from policy)::int4[])
                            then 1 - semaphore.taken
                    end,
                    excluded.taken + excluded.waiting
                ),
                0
            )
        end,
        taken = semaphore.taken + case
            when semaphore.waiting > 0 or excluded.granted = 0 or semaphore.blocked_by is not null
                or semaphore.paused_until > now()
                then 0
            else greatest(
                least(
                    coalesce(semaphore.own_limit, excluded.granted) - semaphore.taken,
                    case
                        when excluded.last_at is not null or excluded.queue_id = any((select fair from policy)::int4[])
                            then 1 - semaphore.taken
                    end,
                    excluded.taken + excluded.waiting
                ),
                0
            )
        end,
        waiting = semaphore.waiting + excluded.taken + excluded.waiting - case
            when semaphore.waiting > 0 or excluded.granted = 0 or semaphore.blocked_by is not null
                or semaphore.paused_until > now()
                then 0
            else greatest(
                least(
                    coalesce(semaphore.own_limit, excluded.granted) - semaphore.taken,
                    case
                        when excluded.last_at is not null or excluded.queue_id = any((select fair from policy)::int4[])
                            then 1 - semaphore.taken
                    end,
                    excluded.taken + excluded.waiting
                ),
                0
            )
        end,
        -- Also where the limit was raised, and the key does not call yet. A key that a worker has paused calls after that.
        admit_at = coalesce(
            semaphore.admit_at,
            case when semaphore.paused_until > now() then semaphore.paused_until end,
            excluded.admit_at,
            case
                when semaphore.waiting > 0 and semaphore.taken < coalesce(semaphore.own_limit, excluded.granted)
                    and semaphore.blocked_by is null
                    then now()
            end,
            -- Nothing waited. Where a job of the key has a worker, its turn may be now.
            case
                when semaphore.waiting = 0 and semaphore.taken + excluded.taken + excluded.waiting > 1
                    and semaphore.blocked_by is null and excluded.queue_id = any((select fair from policy)::int4[])
                    then now()
            end
        ),
        last_at = case
            when excluded.last_at is not null
                then greatest(
                    excluded.last_at,
                    semaphore.last_at + interval '1 microsecond',
                    semaphore.cancels_to + interval '1 microsecond'
                )
        end
    returning
        id, granted, waiting, last_at,
        case
            when waiting > 0 then waiting > (select q.key_max_waiting from queue q where q.id = semaphore.queue_id)
        end as passes,
        admit_at <= now() as calls
),
admitted as materialized (
    select
        array_agg(id order by id) filter (where waiting > 0) as ids,
        array_agg(granted order by id) filter (where waiting > 0) as granted,
        bool_or(last_at is not null) as ordered,
        array_agg(coalesce(last_at, '-infinity') order by id) filter (where waiting > 0) as last_at,
        refuse_backlog(array_agg(id order by id) filter (where passes)) as fits,
        array_agg(id order by id) filter (where calls) as calling
    from asked
),
waits as materialized (
    select id
    from (
        select id, asks, place, row_number() over (partition by asks order by number) as turn
        from (
            select id, asks, number, width_bucket(asks, (select ids from admitted)) as place
            from came
            where (select ids from admitted) is not null and asks is not null
        ) c
        where ((select ids from admitted))[place] = asks
    ) c
    where turn > ((select granted from admitted))[place]
),
placed as materialized (
    select
        id,
        payload,
        key,
        semaphore_id,
        run,
        case
            when waits and (select ordered from admitted) then greatest(
                ((select starts_at from run))[run],
                ((select last_at from admitted))[width_bucket(asks, (select ids from admitted))]
            )
            else ((select starts_at from run))[run]
        end as starts_at,
        case when not waits then nullif(((select holder from run))[run], 0) end as holder,
        case when waits then 1 else ($13::int2[])[run] end as hold
    from (select c.*, c.id in (select id from waits) as waits from came c offset 0) c
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
        state, hold, semaphore_id, attempts, session_id, deadline
    )
    select
        id, starts_at, ($4::int4[])[run],
        coalesce(($15::int2[])[run], 0), coalesce(($16::int2[])[run], 3), ($17::int4[])[run],
        case when holder is not null then 2 when hold is null then 1 else 3 end, hold, semaphore_id,
        case when holder is null then 0 else 1 end, holder,
        case when holder is not null then now() + interval '1 millisecond' *
            ($17::int4[])[run]
        end
    from placed
)
select
    now() as at,
    case when cardinality($9::bytea[]) > 0 then (select array_agg(id) from placed) end as stored,
    case
        when (select holder from run) <> $5::int8[]
            then (select array_agg(id) from placed where holder is null and hold is null and ($5::int8[])[run] <> 0)
    end as refused,
    (select array_agg(id) from waits) as kept,
    (select calling from admitted) as calling,
    (select fits from admitted) as fits
