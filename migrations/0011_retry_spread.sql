-- Retries that do not gather at the cap: a draw beyond it was cut to it, so that half of all retries between 6 s and 12 s
-- came back in the same second. Servers of before and after call it alike.

-- Even over [min, min(max, 3 * previous)]; a min above max counts as max. Three times the previous wait can be more than an
-- int4 holds. One expression, so that the planner inlines it.
create or replace function next_backoff_ms(previous_ms int4, min_ms int4, max_ms int4) returns int4
language sql volatile parallel safe as $$
    select (
        least(min_ms, max_ms) + floor(random() * (
            least(greatest(3 * coalesce(previous_ms, min_ms)::int8, min_ms), max_ms) - least(min_ms, max_ms) + 1
        ))
    )::int4
$$;
comment on function next_backoff_ms is
    'The wait after a failure, even over [min, min(max, 3 * previous)]. Previous null: there was none, min stands for it.';
