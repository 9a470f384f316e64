-- read: what of PostgreSQL a server rests on, for the doctor
select
    current_setting('server_version') as version,
    current_setting('server_version_num')::int4 as version_number,
    pg_is_in_recovery() as standby,
    pg_backend_pid() as pid,
    coalesce((select s.ssl from pg_stat_ssl s where s.pid = pg_backend_pid()), false) as encrypted,
    current_setting('autovacuum')::bool and current_setting('track_counts')::bool as vacuums,
    current_setting('max_connections')::int4 - current_setting('superuser_reserved_connections')::int4 as connections_most,
    (select count(*) from pg_stat_activity a where a.backend_type = 'client backend')::int4 as connections,
    current_setting('synchronous_standby_names') as synchronous_standbys,
    current_setting('data_checksums')::bool as checksums,
    d.checksum_failures,
    age(n.datfrozenxid)::int4 as xid_age
from pg_database n
left join pg_stat_database d on d.datid = n.oid
where n.datname = current_database()
