-- An identity as administrators see it.
select i.id, n.name as namespace, i.kind, i.issuer, i.pattern, i.claim, i.grants::text as grants, i.rate_per_s, i.burst, i.created_at,
       i.created_by
from identity i
join namespace n on n.id = i.namespace_id
