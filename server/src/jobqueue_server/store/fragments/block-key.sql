-- Blocks the keys of jobs that held permits in strict order and ended otherwise than by success (`failed`), by what their queue
-- says: 2 the key waits for a person, 3 who waits for it is cancelled, up to the last one that is there now. `places`: how many
-- of the semaphore's jobs go with this statement.
-- blanks: places = 0
-- needs: freed
blocked_by = case
    when t.blocked_by is null and (select any_failed from freed) then (
        select ((select failed from freed))[width_bucket(t.id, (select ids from freed))]
        from queue q
        where q.id = t.queue_id and (q.key_on_failure = 2 or (q.key_on_failure = 3 and t.waiting > {places}))
    )
    else t.blocked_by
end,
cancels_to = case
    when t.blocked_by is null and t.waiting > {places} and (select any_failed from freed) then (
        select greatest(t.last_at, clock_timestamp())
        from queue q
        where q.id = t.queue_id and q.key_on_failure = 3
            and ((select failed from freed))[width_bucket(t.id, (select ids from freed))] is not null
    )
    else t.cancels_to
end
