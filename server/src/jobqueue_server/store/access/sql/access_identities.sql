-- access: every identity of every namespace
select id, namespace_id, kind, issuer, pattern, claim, grants::text as grants, rate_per_s, burst from identity order by id
