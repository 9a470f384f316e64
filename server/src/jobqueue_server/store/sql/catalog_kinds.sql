-- catalog: every kind, with the schemas that changed
-- $1 int4: namespace; $2 timestamptz: schemas of rows written at or after this moment are sent, of others not
-- Schemas are the only large column of the small tables; sending them each second would cost more than all the rest.
select name, min_backoff_ms, max_backoff_ms, max_attempts, timeout_ms, declared_at is not null as declared, updated_at,
       updated_at >= $2 as sent, case when updated_at >= $2 then schema end as schema
from kind
where namespace_id = $1
order by name
