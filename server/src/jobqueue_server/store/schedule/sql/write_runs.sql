-- run: - -> decided; buffered -> fired, replaced or refused
-- Of schedules that this transaction has locked:
-- $1 schedule int4[]  $2 tick timestamptz[]  $3 nth int4[] (-1: the next one of its tick)  $4 number int8[]  $5 outcome int2[]
-- $6 job uuid[]  $7 note text[]  $8 ticks int4[]  $9 request id text[]  $10 cause int2[]
-- One that waited keeps its cause, whatever puts an end to that.
-- Answers what was written. A tick that was decided before is not among it, and nothing may be committed then.
insert into schedule_run (schedule_id, tick, nth, number, outcome, job_id, note, ticks, request_id, cause)
select a.schedule_id, a.tick,
    case
        when a.nth >= 0 then a.nth
        else coalesce((
            select r.nth from schedule_run r
            where r.schedule_id = a.schedule_id and r.tick = a.tick order by r.nth desc limit 1
        ), 0) + 1
    end,
    a.number, a.outcome, a.job_id, a.note, a.ticks, a.request_id, a.cause
from unnest(
    $1::int4[], $2::timestamptz[], $3::int4[], $4::int8[], $5::int2[], $6::uuid[], $7::text[], $8::int4[], $9::text[],
    $10::int2[]
) as a (schedule_id, tick, nth, number, outcome, job_id, note, ticks, request_id, cause)
on conflict (schedule_id, tick, nth) do update
    set outcome = excluded.outcome, job_id = excluded.job_id, note = excluded.note, decided_at = now()
    where schedule_run.outcome = 5
returning *
