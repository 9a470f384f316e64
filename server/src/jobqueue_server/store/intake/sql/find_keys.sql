-- read: the jobs that hold these idempotency keys
-- $1 namespace int4  $2 key digest bytea[]
-- A second statement, because the first one's snapshot can't see a winner that committed while it waited.
-- A commit whose wait for a synchronous standby was given up is seen here, and may be on this host alone. The message is
-- written to the WAL behind it, so that this commit waits for both: no caller is answered what a failover would take back.
select
    key_digest, job_id, request_digest, owner,
    case
        when current_setting('synchronous_standby_names') <> '' then pg_logical_emit_message(true, 'jobqueue', ''::text)
    end as confirmed
from idempotency_key
where namespace_id = $1::int4 and key_digest = any($2::bytea[])
