-- read: the schema in which this JobQueue is, as a number
-- Servers of other schemas of the same database are on another channel. A name may be too long for one.
select oid::int8 as schema from pg_namespace where nspname = current_schema()
