-- schedule: paused or resumed by its callers
-- $1 int4: its id, which this transaction has locked; $2 bool: whether it shall be paused; $3 text: why
-- $4 timestamptz: its next tick, of one that is resumed; $5, $6 text: its principal from now on and what that showed; null: as before
update schedule
set paused_at = case when $2::bool then coalesce(paused_at, now()) end,
    pause_note = case when $2 then $3::text else '' end,
    next_at = case when $2 then next_at else $4::timestamptz end,
    failures_in_a_row = case when $2 then failures_in_a_row else 0 end,
    principal = coalesce($5::text, principal), credential = coalesce($6::text, credential), updated_at = now()
where id = $1
