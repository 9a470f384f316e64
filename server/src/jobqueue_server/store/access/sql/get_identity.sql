-- access: an identity
-- $1 int4: namespace; $2 int8: id
-- use identity-as-seen
select i.id, n.name as namespace, i.kind, i.issuer, i.pattern, i.claim, i.grants::text as grants, i.rate_per_s, i.burst, i.created_at,
       i.created_by
from identity i
join namespace n on n.id = i.namespace_id
-- end of identity-as-seen
where i.namespace_id = $1 and i.id = $2
