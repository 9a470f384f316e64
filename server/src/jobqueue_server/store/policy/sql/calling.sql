-- read: the keys that may let one in now, and when the next one may; whether there are some whose jobs are to be cancelled
-- $1 how many keys at most int4
-- Finds what a server left that died after tokens came back, and the keys whose rate allows the next one.
with calls as materialized (
    select id, admit_at from semaphore where admit_at is not null order by admit_at limit $1
)
select
    (select array_agg(id) from calls where admit_at <= now()) as calling,
    (select min(admit_at) from calls where admit_at > now()) as next_call,
    exists (select from semaphore where cancels_to is not null) as cancels,
    now() as now
