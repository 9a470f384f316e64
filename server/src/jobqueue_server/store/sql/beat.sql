-- server: alive -> alive
-- $1 server id int8. One row written each few seconds stands for every running job of this server.
update server set heartbeat_at = now() where id = $1::int8 returning now() as at
