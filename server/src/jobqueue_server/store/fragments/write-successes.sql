-- Writes the ends of leases that succeeded, with the outputs that some have.
-- needs: gone
insert into finished_job (id, started_at, session_id, attempts, status, failures, losses, output)
select g.id, g.changed_at, g.session_id, g.attempts, 3, g.failures, g.losses, o.output
from gone g
-- A job that was lost and came back may be told with both attempts.
left join unnest(case when cardinality(:outputs::bytea[]) > 0 then :ids::uuid[] end, :attempts::int4[], :outputs::bytea[])
    as o (id, attempt, output) on o.id = g.id and o.attempt = g.attempts
