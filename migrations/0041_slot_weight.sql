-- How many slots of a worker one job of a kind takes. No row is rewritten: a null costs no byte.

alter table kind add column slot_weight int2,
    add constraint "a job of a kind takes 1 to 1000 slots" check (slot_weight between 1 and 1000);
comment on column kind.slot_weight is 'How many slots of a worker each of its jobs takes. Null: 1.';
