-- read: the servers, and what the workers of the others take
-- $1 int8: the server that asks, which knows its own
-- A row a server; silent: it was not heard for 5 s, while it writes a heartbeat each 2 s. At most 1,000 servers.
select id, name, version, level, started_at, heartbeat_at, now() as now, id = $1 as own,
       heartbeat_at < now() - interval '5 seconds' as silent,
       case when id <> $1 then load::text end as load
from server
order by id
limit 1000
