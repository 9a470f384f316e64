-- access: keys that were changed, of every namespace
-- $1 text[]: ids
select id, namespace_id, lineage, name, secret_hash, grants::text as grants, rate_per_s, burst, networks::text[] as networks,
       expires_at, revoked_at
from api_key
where id = any($1::text[])
