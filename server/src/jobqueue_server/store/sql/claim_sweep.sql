-- retention: this minute's sweep -> this server's
-- $1 at most one within interval
-- For economy alone: two sweeps side by side do no harm, they skip each other's rows. One that began in the future
-- began before the clock was set back.
update retention_sweep set started_at = clock_timestamp()
where started_at not between clock_timestamp() - $1::interval and clock_timestamp()
returning started_at
