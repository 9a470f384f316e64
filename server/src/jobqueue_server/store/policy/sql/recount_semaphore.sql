-- audit: a semaphore that drifted -> counted anew, and calling
-- $1 semaphore int8, which this transaction has locked
-- locks: 6
update semaphore t
set taken = (select count(*)::int4 from live_job l where l.semaphore_id = $1::int8 and l.hold is null),
    waiting = (select count(*)::int4 from live_job l where l.semaphore_id = $1::int8 and l.hold = 1),
    admit_at = now()
where t.id = $1::int8
