-- retention: the oldest partition of the audit log, if all of it is older than the retention -> gone
-- $1 retention interval
-- $2 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- No name: there is none. Gives up after 100 ms where it would have to wait for a lock (55P03).
select case
    when now() between $2::timestamptz - interval '5 seconds' and $2::timestamptz + interval '5 seconds'
        then drop_audit_partition($1::interval)
end as name
