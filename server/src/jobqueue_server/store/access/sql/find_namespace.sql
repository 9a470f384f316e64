-- access: a namespace by its name
-- $1 text: name
select id, name, created_at, disabled_at from namespace where name = $1
