-- retention: read the lanes of the jobs in a range of ids, the live ones and those that ended
-- $1 from uuid  $2 before uuid: those of one partition
select distinct j.lane_id from job j where j.id >= $1 and j.id < $2
