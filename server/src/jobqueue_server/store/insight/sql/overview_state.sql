-- read: what the overview has of the whole database
-- silent_of, silent: namespaces, and how many sessions of each are silent: their worker is not connected, and their ttl has not
-- ended. Not those of workers that make calls, which are silent between them. At most 10,000.
-- snapshot_age: of the oldest snapshot that a client's transaction holds, as far as this role may see it, or a prepared one;
-- rows that are deleted meanwhile can't be cleaned up.
with silent as materialized (
    select s.namespace_id, count(*)::int4 as sessions
    from (
        select w.namespace_id from worker_session w
        where w.ended_at is null and w.silent_since is not null and w.greeting is null
        limit 10000
    ) s
    group by 1
)
select now() as now,
       (select array_agg(namespace_id order by namespace_id) from silent) as silent_of,
       (select array_agg(sessions order by namespace_id) from silent) as silent,
       now() - least(
           (
               select min(a.xact_start) from pg_stat_activity a
               where a.datname = current_database() and a.backend_type = 'client backend' and a.backend_xmin is not null
           ),
           (select min(p.prepared) from pg_prepared_xacts p where p.database = current_database())
       ) as snapshot_age
