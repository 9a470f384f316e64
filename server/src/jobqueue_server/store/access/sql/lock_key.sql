-- access: the key that a rotation or a revocation is about to change
-- $1 int4: namespace; $2 text: id
select id, lineage, name, grants::text as grants, rate_per_s, burst, networks::text[] as networks, expires_at, revoked_at,
       now() as now
from api_key
where namespace_id = $1 and id = $2
for update
