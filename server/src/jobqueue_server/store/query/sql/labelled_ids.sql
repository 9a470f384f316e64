-- read: ids of jobs with some labels, newest first
-- $1 jsonb: labels; $2, $3 uuid: ids from this one on, up to that one (exclusive); $4 int4: how many at most
-- Of one partition, and planned for these labels: where PostgreSQL has seen few jobs with them, it takes the index of labels,
-- and where it has seen many, the primary key. For all partitions at once it takes one of them for all, and that of many old
-- jobs passes over all newer ones, 0.8 s of two million.
select j.id from job j
where j.labels is not null and j.labels @> $1::jsonb and j.id >= $2 and j.id < $3
order by j.id desc
limit $4
