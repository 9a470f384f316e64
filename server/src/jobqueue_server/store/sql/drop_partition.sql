-- retention: a partition whose jobs all ended long ago -> gone
-- $1 name text  $2 retention interval
-- Refuses by itself, under a lock, and gives up after 100 ms where it would have to wait for one (55P03).
select drop_partition($1::text, $2::interval) as fate
