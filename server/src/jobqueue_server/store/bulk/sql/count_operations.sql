-- read: how many operations there are, by verb and state
select o.verb, o.state, count(*)::int4 as operations from operation o group by o.verb, o.state
