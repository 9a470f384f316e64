-- read: where the partitions of a range of ids begin, newest first
-- $1, $2 uuid: ids from this one on, up to that one (exclusive)
select p.from_id from job_partition p where p.from_id < $2 and p.to_id > $1 order by p.from_id desc
