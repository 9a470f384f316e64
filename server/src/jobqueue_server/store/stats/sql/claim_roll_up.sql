-- statistics: the next roll-up -> this server's
-- $1 at most one within interval
-- It only saves work: of two roll-ups at once the second finds the rows of the first gone. One that began in the future began
-- before the clock was set back.
update stat_rollup set started_at = clock_timestamp()
where started_at not between clock_timestamp() - $1::interval and clock_timestamp()
returning started_at
