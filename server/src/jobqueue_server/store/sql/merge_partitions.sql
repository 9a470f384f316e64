-- retention: two neighbours -> one, with what is worth keeping of them
-- $1 elder text  $2 younger text; the same name twice: that one alone  $3 retention interval
-- $4 max_rows int4  $5 max_bytes int8: 'too many' is answered beyond them, since the copy keeps writers out
-- Gives up after 100 ms where it would have to wait for a lock (55P03).
select merge_partitions($1::text, $2::text, $3::interval, $4::int4, $5::int8) as fate
