-- Gives back what jobs held of their semaphores, and the places of those that waited. A key of which others wait calls, where
-- a permit came back. `places`: how many of the semaphore's jobs waited.
-- blanks: places = 0; more =
-- needs: freed
set taken = t.taken - ((select taken from freed))[width_bucket(t.id, (select ids from freed))],
    waiting = t.waiting - {places},
    admit_at = case
        when t.waiting <= {places} then null
        when ((select taken from freed))[width_bucket(t.id, (select ids from freed))] > 0
            then coalesce(t.admit_at, now())
        else t.admit_at
    end{more}
