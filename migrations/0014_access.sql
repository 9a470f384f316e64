-- Who may do what: API keys, identities of tokens and certificates, namespaces that can be disabled.

alter table namespace
    add column created_at  timestamptz not null default now(),
    add column disabled_at timestamptz,
    add constraint "a namespace has a name of queues" check (name ~ '^[a-z0-9][a-z0-9_.-]{0,127}$');
comment on column namespace.disabled_at is 'Since when no call in it is allowed; null: it is in use.';

create table access_version (
    only_row bool primary key default true,
    version  int8 not null,
    constraint "there is one version" check (only_row)
);
comment on table access_version is 'Raised in each transaction that changes a key, an identity or a namespace; servers read it each second, and then the rest.';
insert into access_version (version) values (1);

create table api_key (
    id            text primary key,
    namespace_id  int4 not null references namespace,
    lineage       text not null,
    name          text not null,
    secret_hash   bytea not null,
    grants        jsonb not null,
    rate_per_s    int4,
    burst         int4,
    networks      cidr[],
    created_at    timestamptz not null default now(),
    created_by    text not null,
    expires_at    timestamptz,
    revoked_at    timestamptz,
    revoked_by    text,
    revoke_reason text,
    succeeds      text references api_key,
    last_used_at  timestamptz,
    constraint "an id is 10 characters of Crockford's base 32" check (id ~ '^[0-9a-hjkmnp-tv-z]{10}$'),
    constraint "a hash is SHA-256" check (octet_length(secret_hash) = 32),
    constraint "a name is short" check (char_length(name) between 1 and 100),
    constraint "a rate and a burst come together" check ((rate_per_s is null) = (burst is null)),
    constraint "a rate is positive" check (rate_per_s > 0 and burst > 0),
    constraint "a revocation says by whom" check ((revoked_at is null) = (revoked_by is null))
);
comment on table api_key is 'Keys of callers. Of the secret only its hash is kept.';
comment on column api_key.lineage is 'The id of the first of the keys that succeed each other: they are one principal.';
comment on column api_key.grants is 'What it permits: [{permissions, queues, kinds, payloads}] (grants.py).';
comment on column api_key.networks is 'Whence it may be used; null: from anywhere.';
comment on column api_key.last_used_at is 'Renewed at most each 5 min.';
-- Serves ListKeys.
create index api_key_by_name on api_key (namespace_id, name collate "C", id);

create table identity (
    id           int8 generated always as identity primary key,
    namespace_id int4 not null references namespace,
    kind         text not null,
    issuer       text not null default '',
    pattern      text not null,
    claim        text not null default '',
    grants       jsonb not null,
    rate_per_s   int4,
    burst        int4,
    created_at   timestamptz not null default now(),
    created_by   text not null,
    constraint "an identity is of a token or of a certificate" check (kind in ('jwt', 'mtls')),
    constraint "a pattern of an identity is short" check (char_length(pattern) between 1 and 512),
    constraint "an identity's rate and burst come together" check ((rate_per_s is null) = (burst is null)),
    constraint "an identity's rate is positive" check (rate_per_s > 0 and burst > 0),
    constraint "an identity is named once" unique (kind, issuer, claim, pattern)
);
comment on table identity is 'Principals whose credentials others made: subjects of tokens, names in certificates.';
comment on column identity.claim is 'The claim of a token that the pattern is for; empty: its subject.';

-- Null: a server of before made the row; it is of the namespace default.
alter table worker_session
    add column namespace_id int4 references namespace,
    add column principal    text,
    add column credential   text;
comment on column worker_session.principal is 'Who opened it. Another principal can''t resume it.';
comment on column worker_session.credential is 'What its principal showed last, such as key: and an id: the session ends when that is revoked.';
-- Serves the end of sessions whose credential was revoked.
create index worker_session_credential on worker_session (credential) where ended_at is null and credential <> '';
