-- read: what the workers of the other servers take
-- $1 int8: the server that asks, which knows its own
-- A row a server; silent: it was not heard for 5 s, while it writes a heartbeat each 2 s. At most 1,000 servers.
select name, heartbeat_at < now() - interval '5 seconds' as silent, load::text as load
from server
where id <> $1
order by id
limit 1000
