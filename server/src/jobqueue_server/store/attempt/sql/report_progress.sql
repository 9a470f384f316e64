-- progress: what running attempts last said
-- $1 job id uuid[], sorted  $2 attempt int4[]  $3 session_id int8[]  $4 fraction float8[]  $5 message text[]
-- $6 checkpoint bytea[]; null: as it was, also where an attempt before left it. An array of nulls only is sent empty.
-- Counts only from the session that holds the lease, as a settlement does.
insert into job_progress (job_id, attempt, fraction, message, checkpoint)
select p.id, p.attempt, p.fraction, p.message, p.checkpoint
from unnest($1::uuid[], $2::int4[], $3::int8[], $4::float8[], $5::text[], $6::bytea[])
    as p (id, attempt, session_id, fraction, message, checkpoint)
join live_job l on l.id = p.id and l.attempts = p.attempt and l.session_id = p.session_id
order by p.id
on conflict (job_id) do update
    set attempt = excluded.attempt, fraction = excluded.fraction, message = excluded.message,
        checkpoint = coalesce(excluded.checkpoint, job_progress.checkpoint), updated_at = now()
