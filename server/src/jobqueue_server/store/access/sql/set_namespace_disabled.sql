-- access: a namespace is disabled, or enabled again
-- $1 text: name; $2 bool: disabled
update namespace set disabled_at = case when $2 then coalesce(disabled_at, now()) end where name = $1
returning id, name, created_at, disabled_at
