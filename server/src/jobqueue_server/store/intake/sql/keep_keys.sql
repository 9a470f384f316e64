-- keys: free -> standing for jobs that are there already
-- For each: $1 digests bytea[]  $2 ids uuid[]: the jobs  $3 requests bytea[] (as in enqueue.sql)  $4 namespaces int4[]
-- $5 key_ttl interval
-- locks: 3
with kept as (
    -- use take-idempotency-keys
    insert into idempotency_key (namespace_id, key_digest, job_id, request_digest, owner, expires_at)
    select
        k.namespace_id, k.digest, k.job_id, substring(k.request for 16), substring(k.request from 17), now() + $5::interval
    from unnest($1::bytea[], $2::uuid[], $3::bytea[], $4::int4[]) as k (digest, job_id, request, namespace_id)
    order by k.digest
    on conflict (namespace_id, key_digest) do update
        set job_id = excluded.job_id, request_digest = excluded.request_digest, owner = excluded.owner,
            expires_at = excluded.expires_at
        where idempotency_key.expires_at <= now()
    returning job_id
    -- end of take-idempotency-keys
)
select count(*)::int4 as kept from kept
