-- read: which PostgreSQL this is, and on which timeline it writes; none while it is in recovery
-- The name of the WAL file at the current position begins with the timeline. pg_control_checkpoint() knows it no sooner
-- than the first checkpoint after a promotion.
select
    (select system_identifier from pg_control_system()) as cluster,
    case when not pg_is_in_recovery() then left(pg_walfile_name(pg_current_wal_lsn()), 8) end as timeline
