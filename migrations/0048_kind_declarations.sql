-- What owners of a kind say of it and no server acts by: apart from the row of the kind, which every server reads again
-- when it changes, so that none reads these. Servers of before leave it as it is.

create table kind_declaration (
    kind_id       int4 primary key references kind,
    version       int4,
    output_schema text,
    annotations   jsonb,
    constraint "a kind has a version from 1 to 1000000, or none" check (version between 1 and 1000000)
);
comment on table kind_declaration is 'Of kinds of which that was said: the version of their payloads, what their outputs are, and whose they are.';
comment on column kind_declaration.version is 'The version of the payloads that its programs declared last. Null: none.';
comment on column kind_declaration.output_schema is 'JSON Schema (2020-12) of the outputs as text. No output is checked by it.';
comment on column kind_declaration.annotations is 'What else its owners say of it: an object of strings.';
