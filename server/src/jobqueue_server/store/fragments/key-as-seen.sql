-- A key as administrators see it.
select k.id, n.name as namespace, k.lineage, k.name, k.grants::text as grants, k.rate_per_s, k.burst,
       k.networks::text[] as networks, k.created_at, k.created_by, k.expires_at, k.revoked_at, k.revoked_by,
       k.revoke_reason, k.succeeds, k.last_used_at, now() as now
from api_key k
join namespace n on n.id = k.namespace_id
