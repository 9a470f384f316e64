-- How many tokens a turnstile that is there gives to the jobs that just came: none where others wait, or where the queue's
-- rate, a failed job or a worker holds its key; else what its limit leaves, or one where the order or fair turns allow one.
-- (`granted` brings the limit of the queue to the row, so it is `excluded.granted` here.)
-- blanks: sets
-- needs: policy
{sets} case
    when turnstile.waiting > 0 or excluded.granted = 0 or turnstile.blocked_by is not null
        or turnstile.paused_until > now()
        then 0
    else greatest(
        least(
            coalesce(turnstile.own_limit, excluded.granted) - turnstile.taken,
            case
                when excluded.last_at is not null or excluded.queue_id = any((select fair from policy)::int4[])
                    then 1 - turnstile.taken
            end,
            excluded.taken + excluded.waiting
        ),
        0
    )
end,
