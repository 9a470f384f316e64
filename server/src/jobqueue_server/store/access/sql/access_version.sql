-- access: the version of all keys, identities and namespaces
-- Read each second by each server: one row.
select version from access_version
