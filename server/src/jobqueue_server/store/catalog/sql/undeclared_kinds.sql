-- catalog: which of some kinds are not declared
-- $1 int4: namespace; $2 text[]: their names, each once
select n.name
from unnest($2::text[]) n (name)
where not exists (select from kind k where k.namespace_id = $1 and k.name = n.name and k.declared_at is not null)
