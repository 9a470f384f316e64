-- Whether the keys of a queue take turns. No row is rewritten: a null costs no byte.

alter table queue add column key_fair bool;
comment on column queue.key_fair is 'True: jobs of one key stand in line a few at a time, and the others wait for its turn. Null: who came first goes first.';
