-- access: one key as administrators see it
-- $1 int4: namespace; $2 text: id
-- use key-as-seen
select k.id, n.name as namespace, k.lineage, k.name, k.grants::text as grants, k.rate_per_s, k.burst,
       k.networks::text[] as networks, k.created_at, k.created_by, k.expires_at, k.revoked_at, k.revoked_by,
       k.revoke_reason, k.succeeds, k.last_used_at, now() as now
from api_key k
join namespace n on n.id = k.namespace_id
-- end of key-as-seen
where k.namespace_id = $1 and k.id = $2
