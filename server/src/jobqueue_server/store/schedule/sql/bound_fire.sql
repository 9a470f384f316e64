-- transaction: ended by the database if its server is silent in it
-- $1 text: milliseconds
-- A server that is stopped in the middle of a fire would hold its schedules for as long as it is.
select set_config('idle_in_transaction_session_timeout', $1, true)
