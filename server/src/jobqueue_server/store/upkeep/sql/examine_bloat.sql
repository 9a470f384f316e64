-- read: how large tables are, and how many rows they have, for the doctor
-- $1 text[]: the tables
select
    t.name,
    pg_total_relation_size(t.name::regclass)::int8 as bytes,
    coalesce(s.n_live_tup + s.n_dead_tup, 0)::int8 as rows
from unnest($1::text[]) t (name)
left join pg_stat_user_tables s on s.relid = t.name::regclass
