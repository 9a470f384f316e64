-- access: the next keys that can still matter, of every namespace
-- $1 text: the id after which they begin; $2 int: how many
-- A key that ended long ago is not known any more: a caller that shows it is told that it is invalid.
select id, namespace_id, lineage, name, secret_hash, grants::text as grants, rate_per_s, burst, networks::text[] as networks,
       expires_at, revoked_at
from api_key
where id > $1 and (coalesce(revoked_at, expires_at) is null or least(revoked_at, expires_at) > now() - interval '30 days')
order by id
limit $2
