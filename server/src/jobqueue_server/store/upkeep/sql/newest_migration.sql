-- read: the newest migration that was applied
select coalesce(max(m.version), 0)::int4 as version
from schema_migration m
