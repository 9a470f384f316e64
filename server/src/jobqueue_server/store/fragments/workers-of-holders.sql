-- Of each job that was let in: who runs it, and since when it runs or may run.
-- needs: holder
(
    select array_agg(coalesce((select s.name from worker_session s where s.id = h.session_id), '')
        order by h.state = 2 desc, h.run_at, h.id)
    from holder h
) as workers,
(
    select array_agg(case when h.state = 2 then h.changed_at else h.run_at end
        order by h.state = 2 desc, h.run_at, h.id)
    from holder h
) as since
