-- access: a page of keys by name and id
-- $1 int4: namespace; $2 text: only names from this one on; $3 text: and of that name only ids after this one;
-- $4 int4: rows at most
-- The "C" order is that of the code points, the same on every server whatever its locale, so that a page token holds.
-- use key-as-seen
select k.id, n.name as namespace, k.lineage, k.name, k.grants::text as grants, k.rate_per_s, k.burst,
       k.networks::text[] as networks, k.created_at, k.created_by, k.expires_at, k.revoked_at, k.revoked_by,
       k.revoke_reason, k.succeeds, k.last_used_at, now() as now
from api_key k
join namespace n on n.id = k.namespace_id
-- end of key-as-seen
where k.namespace_id = $1 and (k.name collate "C", k.id) > ($2, $3)
order by k.name collate "C", k.id
limit $4
