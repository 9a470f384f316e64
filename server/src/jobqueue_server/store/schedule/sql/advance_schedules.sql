-- schedule: fired, or its ticks were left out -> waits for its next tick
-- Of schedules that this transaction has locked: $1 id int4[]  $2 next_at timestamptz[]  $3 last_tick timestamptz[]
-- $4 text[]: open jobs, each an array as text  $5 buffered_at timestamptz[]  $6 buffered_nth int4[]  $7 int8[]: jobs enqueued now
-- $8 skipped_in_a_row int4[]  $9 failures_in_a_row int4[]  $10 runs int8[]  $11 text[]: why it is paused now, or null
-- $12 int8[]: numbers of runs up to this one are not kept  $13 text: version of the time zones by which next_at was computed
with moved as (
    update schedule s
    set time_zones = case when s.next_at is distinct from a.next_at then $13::text else s.time_zones end,
        next_at = a.next_at, last_tick = a.last_tick, open = a.open::uuid[], buffered_at = a.buffered_at,
        buffered_nth = a.buffered_nth, fired = s.fired + a.fired, skipped_in_a_row = a.skipped,
        failures_in_a_row = a.failures, runs = a.runs,
        paused_at = case when a.pause_note is null then s.paused_at else now() end,
        pause_note = coalesce(a.pause_note, s.pause_note)
    from unnest(
        $1::int4[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::timestamptz[], $6::int4[], $7::int8[], $8::int4[],
        $9::int4[], $10::int8[], $11::text[]
    ) as a (id, next_at, last_tick, open, buffered_at, buffered_nth, fired, skipped, failures, runs, pause_note)
    where s.id = a.id
)
delete from schedule_run r
using unnest($1::int4[], $12::int8[]) as k (id, gone)
where r.schedule_id = k.id and r.number <= k.gone and r.outcome <> 5
