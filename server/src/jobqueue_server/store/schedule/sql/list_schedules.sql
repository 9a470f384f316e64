-- read: a page of schedules by name, each with its last run and without its payload
-- $1 int4: namespace; $2 text: names above this one; $3 int4: rows wanted; $4 text: kind or null; $5 text: queue or null
-- $6 bool: paused, or null for both; $7 jsonb: labels, or null for any
-- $8, $9 text[]: patterns of LIKE, pairs of queue and kind: only schedules whose jobs fit one may be read; null: all
select s.id, s.namespace_id, s.name, s.queue, s.kind, s.spec, s.job, ''::bytea as payload, s.policy, s.labels, s.time_zones,
    s.next_at, s.last_tick, s.paused_at, s.pause_note, s.open, s.buffered_at, s.buffered_nth, s.fired, s.skipped_in_a_row,
    s.failures_in_a_row, s.runs, s.revision, s.created_at, s.updated_at, s.principal, s.credential,
-- use last-run
    r.tick as run_tick, r.nth as run_nth, r.outcome as run_outcome, r.job_id as run_job_id, r.note as run_note,
    r.ticks as run_ticks, r.decided_at as run_decided_at, r.number as run_number, r.cause as run_cause
from schedule s
left join lateral (
    select * from schedule_run r where r.schedule_id = s.id order by r.number desc limit 1
) r on true
-- end of last-run
where s.namespace_id = $1 and s.name > $2
    and ($4::text is null or s.kind = $4) and ($5::text is null or s.queue = $5)
    and ($6::bool is null or (s.paused_at is not null) = $6)
    and ($7::jsonb is null or s.labels @> $7)
    and ($8::text[] is null
        or exists (select from unnest($8, $9::text[]) g (queue, kind) where s.queue like g.queue and s.kind like g.kind))
order by s.name
limit $3
