-- Whether the job of a name holds it still, by the rule of judge_names.sql.
(
    coalesce(u.holds_until > now(), false)
    or exists (
        select from live_job l
        where l.id = u.job_id and (u.until = 2 or (u.until = 1 and l.state <> 2))
    )
)
