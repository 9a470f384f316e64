-- What jobs that leave their semaphores had of these: permits (`taken`) and places before them (`waiting`); `failed` is the first
-- one that had a permit. The semaphores lock in the order of their ids, as in each other statement, whatever scan the update takes.
-- blanks: jobs; leave
freed as materialized (
    select
        array_agg(semaphore_id order by semaphore_id) as ids,
        array_agg(taken order by semaphore_id) as taken,
        array_agg(waiting order by semaphore_id) as waiting,
        bool_or(failed is not null) as any_failed,
        array_agg(failed order by semaphore_id) as failed
    from (
        select
            semaphore_id,
            (count(*) filter (where hold is null))::int4 as taken,
            (count(*) filter (where hold = 1))::int4 as waiting,
            (array_agg(id order by id) filter (where hold is null))[1] as failed
        from {jobs}
        where semaphore_id is not null and coalesce(hold, 1) = 1 and {leave}
        group by semaphore_id
    ) each
),
locked as materialized (
    select t.id from semaphore t where t.id = any((select ids from freed)::int8[]) order by t.id for update
),
