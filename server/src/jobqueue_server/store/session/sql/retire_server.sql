-- server: alive -> gone; its sessions go on and may resume on another
-- $1 server id int8
with silent as (
    update worker_session
    set silent_since = coalesce(silent_since, now())
    where server_id = $1::int8 and ended_at is null
),
noted as (
    update amnesty set left_at = now()
)
delete from server where id = $1::int8
