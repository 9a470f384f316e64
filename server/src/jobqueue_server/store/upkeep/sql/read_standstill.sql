-- standstill: read
select s.since, s.begun_by, s.resumed_at, s.resumed_by from standstill s
