-- read: which of these jobs have ended, or are gone
-- $1 uuid[]: the jobs that callers of this server wait for
-- One statement for all callers, whichever server settles their jobs.
select w.id
from unnest($1::uuid[]) w (id)
where not exists (select from live_job l where l.id = w.id)
