-- What the finished row knew of the last attempt is kept in `attempt`, unless it is there already or there was none
-- (started_at is null: cancelled while waiting).
-- needs: ended
insert into attempt (job_id, attempt, started_at, ended_at, session_id, outcome, reason)
select id, attempts, started_at, finished_at, session_id,
       case status when 3 then 9 when 6 then 2 else 1 end, reason
from ended
where attempts > 0 and started_at is not null
on conflict (job_id, attempt) do nothing
