-- audit: a turnstile that drifted -> counted anew, and calling
-- $1 turnstile int8, which this transaction has locked
update turnstile t
set taken = (select count(*)::int4 from live_job l where l.stile = $1::int8 and l.hold is null),
    waiting = (select count(*)::int4 from live_job l where l.stile = $1::int8 and l.hold = 1),
    calls_at = now()
where t.id = $1::int8
