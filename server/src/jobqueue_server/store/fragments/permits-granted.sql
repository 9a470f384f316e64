-- How many tokens a semaphore that is there gives to the jobs that just came: none where others wait, or where the queue's
-- rate, a failed job or a worker holds its key; else what its limit leaves, or one where the order or fair turns allow one.
-- (`granted` brings the limit of the queue to the row, so it is `excluded.granted` here.)
-- blanks: sets
-- needs: policy
{sets} case
    when semaphore.waiting > 0 or excluded.granted = 0 or semaphore.blocked_by is not null
        or semaphore.paused_until > now()
        then 0
    else greatest(
        least(
            coalesce(semaphore.own_limit, excluded.granted) - semaphore.taken,
            case
                when excluded.last_at is not null or excluded.queue_id = any((select fair from policy)::int4[])
                    then 1 - semaphore.taken
            end,
            excluded.taken + excluded.waiting
        ),
        0
    )
end,
