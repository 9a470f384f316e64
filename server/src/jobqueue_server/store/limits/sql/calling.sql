-- read: the keys that may let one in now, and when the next one may; whether there are some whose jobs are to be cancelled
-- $1 how many keys at most int4
-- Finds what a server left that died after tokens came back, and the keys whose rate allows the next one.
with calls as materialized (
    select id, calls_at from turnstile where calls_at is not null order by calls_at limit $1
)
select
    (select array_agg(id) from calls where calls_at <= now()) as calling,
    (select min(calls_at) from calls where calls_at > now()) as next_call,
    exists (select from turnstile where cancels_to is not null) as cancels,
    now() as now
