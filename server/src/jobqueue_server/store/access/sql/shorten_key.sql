-- access: a key that was rotated is good until its grace ends, or until its own end where that is sooner
-- $1 int4: namespace; $2 text: id; $3 interval: grace
update api_key set expires_at = least(expires_at, now() + $3::interval) where namespace_id = $1 and id = $2
