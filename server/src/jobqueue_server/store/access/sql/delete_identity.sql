-- access: an identity goes
-- $1 int4: namespace; $2 int8: id
delete from identity where namespace_id = $1 and id = $2 returning kind, pattern
