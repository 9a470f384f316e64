-- access: every key that can still matter, of every namespace
-- A key that ended long ago is not known any more: a caller that shows it is told that it is invalid.
select id, namespace_id, lineage, name, secret_hash, grants::text as grants, rate_per_s, burst, networks::text[] as networks,
       expires_at, revoked_at
from api_key
where coalesce(revoked_at, expires_at) is null or least(revoked_at, expires_at) > now() - interval '30 days'
