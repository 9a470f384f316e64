-- The jobs that were let in, those that run first. Bounded reads of one index.
-- blanks: key; lane =
cross join lateral (
    select l.id, {lane} l.state, l.session_id, l.changed_at, l.run_at
    from live_job l where l.semaphore_id = {key} and l.hold is null limit 1000
) h
order by h.state = 2 desc, h.run_at, h.id
