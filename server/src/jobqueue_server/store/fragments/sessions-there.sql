-- Those of these sessions that are in their epochs.
-- blanks: ids = :sessions
select s.id
from worker_session s
where s.id = any({ids}::int8[]) and s.ended_at is null
    and (s.id, s.epoch) in (select * from unnest({ids}::int8[], :epochs::int4[]))
