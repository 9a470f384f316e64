-- server: - -> alive
-- $1 name text
insert into server (name) values ($1::text) returning id
