-- access: a new namespace
-- $1 text: name
insert into namespace (name) values ($1) on conflict (name) do nothing returning id
