-- standstill: none -> stands, unless one was ended in this very database
-- $1 by text
-- A restore of files starts PostgreSQL anew, and a restored dump writes the row in another transaction. So a server that
-- restarts with JOBQUEUE_START=paused after it was ended begins none, while one on a restored database does.
update standstill s
set since = now(), begun_by = $1::text
where s.since is null
  and not coalesce(s.resumed_in = pg_postmaster_start_time() and s.resumed_xid::xid = s.xmin, false)
returning s.since
