-- catalog: every kind of every namespace, with the schemas that changed
-- $1 timestamptz: schemas of rows written at or after this moment are sent, of others not
-- Schemas are the only large column of the small tables; sending them each second would cost more than all the rest.
select id, namespace_id, name, min_backoff_ms, max_backoff_ms, max_attempts, timeout_ms,
       max_running, rate_count, rate_period_ms, rate_burst, slot_weight,
       declared_at is not null as declared, updated_at, updated_at >= $1 as sent,
       case when updated_at >= $1 then schema end as schema
from kind
order by id
