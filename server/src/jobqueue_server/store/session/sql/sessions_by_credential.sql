-- read: the open sessions that were last heard under one of these credentials
-- $1 text[]: credentials
select id, epoch from worker_session where credential = any($1::text[]) and credential <> '' and ended_at is null
