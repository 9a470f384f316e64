-- read: who keeps dead rows of this database from being removed
-- held: how many transaction numbers ago that began, by the oldest snapshot or number that a session, a slot, a standby or
-- a prepared transaction has; null: none are kept. seconds: since when its transaction is open. Who may not see that of
-- other roles gets null, while the numbers are told to all. A vacuum has a snapshot that keeps nothing. who: for people.
with holder as (
    select greatest(age(a.backend_xid), age(a.backend_xmin)) as held, a.xact_start as since,
        format('the session %s of %s', a.pid, coalesce(nullif(a.application_name, ''), a.usename, a.backend_type)) as who
    from pg_stat_activity a
    where (a.backend_xid is not null or a.backend_xmin is not null)
      and a.pid <> pg_backend_pid()
      and (a.datid is null or a.datname = current_database())
      and a.pid not in (select v.pid from pg_stat_progress_vacuum v)
    union all
    select age(s.xmin), null, format('the replication slot %s', s.slot_name) from pg_replication_slots s where s.xmin is not null
    union all
    select age(p.transaction), p.prepared, format('the prepared transaction %s', p.gid) from pg_prepared_xacts p where p.database = current_database()
)
select
    pg_snapshot_xmax(pg_current_snapshot())::text::int8 as next_xid,
    oldest.held::int8 as held,
    extract(epoch from now() - oldest.since)::float8 as seconds,
    oldest.who
from (select 1) one
left join lateral (select h.held, h.since, h.who from holder h order by h.held desc, h.since limit 1) oldest on true
