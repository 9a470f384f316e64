-- retention: this minute's sweep -> this server's
-- $1 at most one within interval
-- For economy alone: two sweeps side by side do no harm, they skip each other's rows.
update retention_sweep set started_at = clock_timestamp()
where started_at < clock_timestamp() - $1::interval
returning started_at
