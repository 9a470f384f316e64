-- read: the standbys that are connected, for the doctor
-- sync_state and lag are null for a role that may not know them (pg_monitor).
select
    r.application_name as name,
    r.sync_state,
    extract(epoch from r.replay_lag)::float8 as lag_seconds
from pg_stat_replication r
order by r.application_name
