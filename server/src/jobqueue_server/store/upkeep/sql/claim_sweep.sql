-- retention: this minute's sweep -> this server's
-- $1 at most one within interval
-- It only saves work: two sweeps at the same time do no harm, since they skip each other's rows. A sweep that began in
-- the future began before the clock was set back.
update retention_sweep set started_at = clock_timestamp()
where started_at not between clock_timestamp() - $1::interval and clock_timestamp()
returning started_at
