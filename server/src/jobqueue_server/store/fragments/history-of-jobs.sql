-- The failed attempts of the jobs that were found: the newest 100 that were charged, less the oldest of them once their
-- messages pass 1 MiB; newest last.
-- needs: found
select d.id,
       array_agg(
           row (t.attempt, t.reason, t.error_type, t.message, w.name, t.started_at, t.ended_at) order by t.attempt
       ) as failed_attempts,
       sum(t.own_bytes) as bytes
from found d
cross join lateral (
    select a.*, sum(a.own_bytes) over (order by a.attempt desc) as bytes
    from (
        select *, coalesce(octet_length(message), 0) + 200 as own_bytes
        from attempt
        where job_id = d.id and outcome in (1, 7, 8)
        order by attempt desc
        limit 100
    ) a
) t
left join worker_session w on w.id = t.session_id
where :full and t.bytes <= 1048576
group by d.id
