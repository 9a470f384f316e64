-- Gives back what jobs held of their semaphores, and the places of those that waited. A key of which others wait calls, where
-- a token came back.
-- blanks: more =
-- needs: freed, locked
set taken = t.taken - ((select taken from freed))[width_bucket(t.id, (select ids from freed))],
    waiting = t.waiting - ((select waiting from freed))[width_bucket(t.id, (select ids from freed))],
    admit_at = case
        when t.waiting <= ((select waiting from freed))[width_bucket(t.id, (select ids from freed))] then null
        when ((select taken from freed))[width_bucket(t.id, (select ids from freed))] > 0
            then coalesce(t.admit_at, now())
        else t.admit_at
    end{more}
