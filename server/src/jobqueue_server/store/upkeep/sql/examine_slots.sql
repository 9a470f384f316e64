-- read: the replication slots, and how much WAL each keeps, for the doctor
select
    s.slot_name as name,
    s.active,
    coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::int8 as bytes
from pg_replication_slots s
where not s.temporary
order by s.slot_name
