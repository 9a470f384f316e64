-- What a reader sees of a job that does not change, and its bytes.
-- blanks: of; more =
cross join lateral (
    select
           {more}
           j.run_at as asked_run_at,
           -- fields: shown in every view,
           j.priority, j.max_attempts, j.timeout_ms, j.min_backoff_ms, j.max_backoff_ms, j.labels::text as labels,
           j.idempotency_key, j.key, j.unique_name::text as unique_name,
           -- end of fields
           octet_length(j.payload)
           -- fields: bytes in full
           + coalesce(octet_length(j.headers), 0)
           -- end of fields
           as full_bytes
    from job j where j.id = {of}.id limit 1
) b
