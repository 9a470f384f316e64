-- read: the lowest level of a server that may run on this database
select r.min_level from requirement r
