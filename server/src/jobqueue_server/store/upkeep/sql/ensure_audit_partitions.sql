-- retention: partitions of the audit log made ahead of time
-- $1 width interval, whole minutes  $2 behind int4  $3 ahead int4: how many widths in addition to the present one
-- Gives up after 100 ms where it would have to wait for a lock (55P03).
select ensure_audit_partitions($1::interval, $2::int4, $3::int4) as made
