-- keys: standing for a job -> standing for it longer
-- $1 namespace int4; for each: $2 key digest bytea[]  $3 job_id uuid[]; $4 interval: how long from now on
-- They lock in the order of their digests, as in enqueue.sql. A key that stands for another job by now is left as it is.
-- locks: 3
with standing as materialized (
    select i.key_digest
    from unnest($2::bytea[], $3::uuid[]) as k (digest, job_id)
    join idempotency_key i on i.namespace_id = $1::int4 and i.key_digest = k.digest and i.job_id = k.job_id
    where i.expires_at > now()
    order by i.key_digest
    for update of i
)
update idempotency_key i
set expires_at = greatest(i.expires_at, now() + $4::interval)
from standing s
where i.namespace_id = $1::int4 and i.key_digest = s.key_digest
returning i.key_digest
