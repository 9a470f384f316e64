-- access: a key, an identity or a namespace changes in this transaction
-- The row's lock lets changes take turns, so that a version that is seen holds all changes up to it.
update access_version set version = version + 1 returning version
