-- read: which of these jobs have ended, or are gone
-- $1 uuid[]: the jobs that somebody waits for
-- One statement for all who wait, whichever server settles their jobs.
select w.id
from unnest($1::uuid[]) w (id)
where not exists (select from live_job l where l.id = w.id)
