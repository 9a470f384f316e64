-- read: names, and the jobs that hold them now
-- $1 digest bytea[], each once
-- By the rule of judge_names.sql, and without a lock: a holder that waits in this snapshot starts after it. The limit keeps
-- it a look-up for each name: joined, it would read a whole table by a plan of when that was small.
-- The message lets this commit wait for the standbys that the holders' were to wait for, as in find_keys.sql.
select
    now() as at, n.digest, h.job_id,
    case
        when current_setting('synchronous_standby_names') <> '' then pg_logical_emit_message(true, 'jobqueue', ''::text)
    end as confirmed
from unnest($1::bytea[]) n (digest)
cross join lateral (
    select u.job_id
    from unique_hold u
    where u.digest = n.digest
        and
            -- use name-is-held
            (
                coalesce(u.holds_until > now(), false)
                or exists (
                    select from live_job l
                    where l.id = u.job_id and (u.until = 2 or (u.until = 1 and l.state <> 2))
                )
            )
            -- end of name-is-held
    limit 1
) h
