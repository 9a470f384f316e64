-- retention: expired idempotency keys -> gone
-- $1 how many int4
-- $2 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- A key that an enqueue is just taking over is locked, and skipped.
with expired as materialized (
    select k.namespace_id, k.key_digest from idempotency_key k
    where k.expires_at < now()
        and now() between $2::timestamptz - interval '5 seconds' and $2::timestamptz + interval '5 seconds'
    order by k.expires_at
    limit $1::int4
    for update skip locked
),
gone as (
    delete from idempotency_key k using expired e
    where k.namespace_id = e.namespace_id and k.key_digest = e.key_digest
)
select count(*)::int4 as swept from expired
