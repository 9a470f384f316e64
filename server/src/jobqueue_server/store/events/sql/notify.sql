-- notice: one server -> every server that listens
-- $1 channel text  $2 channel of the version before text  $3 notice text
-- Never in a transaction that moves jobs: the lock that a commit with a notice takes makes 8,000 commits of 33,000.
select pg_notify($1::text, $3::text), pg_notify($2::text, $3::text)
