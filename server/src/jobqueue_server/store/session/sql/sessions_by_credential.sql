-- read: the open sessions without a stream that were last heard under one of these credentials
-- One with a stream is ended by the server that has the stream, which tells its worker why.
-- $1 text[]: credentials
select id, epoch
from worker_session
where credential = any($1::text[]) and credential <> '' and ended_at is null and silent_since is not null
