-- read: the jobs that hold these idempotency keys
-- $1 namespace int4  $2 key digest bytea[]
-- A second statement, because the first one's snapshot can't see a winner that committed while it waited.
select key_digest, job_id, request_digest
from idempotency_key
where namespace_id = $1::int4 and key_digest = any($2::bytea[])
