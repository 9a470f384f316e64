-- Leases the rows that were dealt, each to the session of its slot. The update finds them again where they lie (a sixth less
-- for 1,000 than by primary key). A session that is no longer in its epoch gets nothing.
-- blanks: at = now(); more =
-- needs: dealt, present
update live_job l
set state = 2,
    {more}
    attempts = l.attempts + 1,
    session_id = (:slots::int8[])[d.slot],
    changed_at = {at},
    deadline = {at} + l.timeout_ms * interval '1 millisecond'
from dealt d
where l.ctid = d.at and (:slots::int8[])[d.slot] in (select id from present)
returning l.id, l.lane_id, l.priority, l.run_at, l.attempts, l.session_id, l.failures, l.changed_at
