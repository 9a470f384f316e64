-- read: the jobs that hold these idempotency keys, of the keys that have not expired
-- $1 namespace int4  $2 key digest bytea[]
select key_digest, job_id, request_digest, owner
from idempotency_key
where namespace_id = $1::int4 and key_digest = any($2::bytea[]) and expires_at > now()
