-- retention: a partition whose jobs all ended long ago -> gone
-- $1 name text  $2 retention interval
-- $3 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- Refuses by itself, under a lock, and gives up after 100 ms where it would have to wait for one (55P03).
select case
    when now() between $3::timestamptz - interval '5 seconds' and $3::timestamptz + interval '5 seconds'
        then drop_partition($1::text, $2::interval)
    else 'clock'
end as fate
