-- standstill: stands -> none
-- $1 by text
-- Answers since when it stood; no row: it did not.
with stood as (
    select s.since from standstill s where s.since is not null for update
),
ended as (
    update standstill
    set since = null, resumed_at = now(), resumed_by = $1::text, resumed_in = pg_postmaster_start_time(),
        resumed_xid = pg_current_xact_id()
    where exists (select from stood)
)
select since from stood
