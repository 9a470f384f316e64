-- What a counted claim answers: the columns of claim.sql, and one row more, without an id. Its `attempts` is how many might
-- have been leased, its `changed_at` when that was so, its `failures` 1 where the limits of the kind were the closer ones, its
-- `run_at` when the rate of these lets the next one start; null: they have no rate.
-- needs: allowed, leased
select null::uuid as id, null::int4 as lane_id, null::int2 as priority,
       case when rated then started_of(:queue::int4, :kind::int4, by_kind, at, (select count(*)::int4 from leased)) end as run_at,
       room as attempts, null::int8 as session_id, by_kind::int4::int2 as failures, at as changed_at
from allowed
union all
select id, lane_id, priority, run_at, attempts, session_id, failures, changed_at from leased
