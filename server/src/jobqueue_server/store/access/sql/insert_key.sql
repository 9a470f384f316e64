-- access: a new key
-- $1 text: id; $2 int4: namespace; $3 text: lineage; $4 text: name; $5 bytea: hash; $6 text: grants as JSON;
-- $7 int4: rate; $8 int4: burst; $9 text[]: networks; $10 text: created by; $11 interval: how long it is good;
-- $12 text: the key that it succeeds; $13 timestamptz: when it ends at the latest
insert into api_key (id, namespace_id, lineage, name, secret_hash, grants, rate_per_s, burst, networks, created_by,
                     expires_at, succeeds)
values ($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8, $9::text[]::cidr[], $10, least(now() + $11::interval, $13), $12)
returning id
