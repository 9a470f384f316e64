-- access: a new identity, or other grants of one that is there
-- $1 int4: namespace; $2 text: kind; $3 text: issuer; $4 text: pattern; $5 text: claim; $6 text: grants as JSON;
-- $7 int4: rate; $8 int4: burst; $9 text: created by
-- One name is one principal, so it is in one namespace: in another it is not replaced, and no row comes back.
with put as (
    insert into identity (namespace_id, kind, issuer, pattern, claim, grants, rate_per_s, burst, created_by)
    values ($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8, $9)
    on conflict (kind, issuer, claim, pattern) do update
    set grants = excluded.grants, rate_per_s = excluded.rate_per_s, burst = excluded.burst
    where identity.namespace_id = $1
    returning *
)
select i.id, n.name as namespace, i.kind, i.issuer, i.pattern, i.claim, i.grants::text as grants, i.rate_per_s, i.burst, i.created_at,
       i.created_by
from put i
join namespace n on n.id = i.namespace_id
