-- catalog: what of lanes and kinds changed since a snapshot, and the snapshot of now
-- $1 text: that snapshot, as the last answer had it; null: there is none, and nothing is answered but the one of now
-- A row: snapshot, now, lanes, kinds. Transactions commit in any order, so a change is new if that snapshot did not see its
-- transaction, and else is not: none is missed and none is told twice. The bounds by xmin and xmax only find them by the index;
-- numbers beyond xmax are those of another cluster, from which this database was restored.
with changed as materialized (
    select c.lane_id, c.queue_id, c.kind_id, c.lanes_of_kind
    from catalog_change c
    where c.changed >= pg_snapshot_xmin($1::text::pg_snapshot)
        and c.changed < pg_snapshot_xmax(pg_current_snapshot())
        and not pg_visible_in_snapshot(c.changed, $1::text::pg_snapshot)
)
select
    pg_current_snapshot()::text as snapshot,
    now() as now,
    array(
        select c.lane_id from changed c where c.lane_id is not null
        union
        select l.id
        from (select distinct c.queue_id from changed c where c.queue_id is not null) c
        cross join lateral (select l.id from lane l where l.queue_id = c.queue_id offset 0) l
        union
        select l.id
        from (select distinct c.lanes_of_kind as kind_id from changed c where c.lanes_of_kind is not null) c
        cross join lateral (select l.id from lane l where l.kind_id = c.kind_id offset 0) l
    ) as lanes,
    array(select distinct c.kind_id from changed c where c.kind_id is not null) as kinds
