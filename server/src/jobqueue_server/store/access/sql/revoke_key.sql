-- access: a key is revoked; the first revocation stands
-- $1 int4: namespace; $2 text: id; $3 text: by whom; $4 text: why
update api_key set revoked_at = now(), revoked_by = $3, revoke_reason = $4
where namespace_id = $1 and id = $2 and revoked_at is null
