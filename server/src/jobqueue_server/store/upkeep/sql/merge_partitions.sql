-- retention: two adjacent partitions -> one, with what is worth keeping of them
-- $1 older text  $2 younger text; the same name twice: only that partition  $3 retention interval
-- $4 max_rows int4  $5 max_bytes int8: 'too many' is answered beyond them, since the copy keeps writers out
-- $6 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- Gives up after 100 ms where it would have to wait for a lock (55P03).
select case
    when now() between $6::timestamptz - interval '5 seconds' and $6::timestamptz + interval '5 seconds'
        then merge_partitions($1::text, $2::text, $3::interval, $4::int4, $5::int8)
    else 'clock'
end as fate
