-- read: how much WAL the replication slot that is furthest behind keeps
-- Some services forbid their role the position of the WAL: so it is a statement of its own.
select coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)), 0)::int8 as bytes
from pg_replication_slots s
