-- Lets each idempotency key stand for its job; answers the jobs whose key was free, or had expired. Keys are written in the
-- order of their digests: two inserts in opposite order deadlock.
-- blanks: wanted =
insert into idempotency_key (namespace_id, key_digest, job_id, request_digest, owner, expires_at)
select
    k.namespace_id, k.digest, k.job_id, substring(k.request for 16), substring(k.request from 17), now() + :key_ttl::interval
from unnest(:digests::bytea[], :ids::uuid[], :requests::bytea[], :namespaces::int4[]) as k (digest, job_id, request, namespace_id)
{wanted}
order by k.digest
on conflict (namespace_id, key_digest) do update
    set job_id = excluded.job_id, request_digest = excluded.request_digest, owner = excluded.owner,
        expires_at = excluded.expires_at
    where idempotency_key.expires_at <= now()
returning job_id
