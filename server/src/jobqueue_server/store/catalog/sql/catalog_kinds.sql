-- catalog: some kinds, of all namespaces, with their schemas
-- $1 int4[]: these; or of all, by number: $2 int4: those after this one, $3 int4: so many at most
select id, namespace_id, name, min_backoff_ms, max_backoff_ms, max_attempts, timeout_ms,
       max_running, rate_count, rate_period_ms, rate_burst, slot_weight,
       declared_at is not null as declared, updated_at, schema
from (
    select o.* from kind o where o.id = any($1::int4[])
    union all
    (select o.* from kind o where o.id > $2::int4 order by o.id limit $3::int4)
) k
order by id
