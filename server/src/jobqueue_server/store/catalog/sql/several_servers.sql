-- read: whether more than one server was heard within the last minute
select count(*) > 1 as several from server where heartbeat_at > now() - interval '1 minute'
