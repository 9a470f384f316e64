-- names: free -> held by these jobs; the rest are locked until the transaction ends
-- $1 digest bytea[], each once, and sorted: two inserts in opposite order deadlock
-- For each: $2 job_id uuid[]  $3 until int2[] (model.Until; null: 1)  $4 period interval[] (null: none)
-- An array of $3 or $4 that is empty gives nulls.
-- The first of two statements. This one waits for transactions that have the same names, so its snapshot can be older than
-- what they stored; judge_names.sql looks at the holders in a snapshot of its own, when no other transaction can change them.
-- A row that is there is locked and not changed: that is what `where false` leaves of the update.
-- locks: 1
with free as (
    insert into unique_hold as u (digest, job_id, until, holds_until)
    select n.digest, n.job_id, coalesce(n.until, 1), now() + n.period
    from unnest($1::bytea[], $2::uuid[], $3::int2[], $4::interval[]) as n (digest, job_id, until, period)
    on conflict (digest) do update set job_id = u.job_id where false
    returning digest
)
select now() as at, array_agg(digest) as taken from free
