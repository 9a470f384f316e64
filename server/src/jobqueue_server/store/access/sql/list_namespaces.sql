-- access: a page of namespaces by name
-- $1 text: only names after this one; $2 int4: rows at most
select id, name, created_at, disabled_at from namespace where name > $1 collate "C" order by name collate "C" limit $2
