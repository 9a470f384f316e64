-- access: whether a namespace has a key with ADMIN that is good
-- $1 int4: namespace
select exists (
    select 1 from api_key
    where namespace_id = $1 and revoked_at is null and (expires_at is null or expires_at > now())
      and jsonb_path_exists(grants, '$[*].permissions[*] ? (@ == "ADMIN")')
) as found
