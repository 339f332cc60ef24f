-- Both SQLite and PostgreSQL run this file. Times are microseconds since the Unix epoch, by the database's clock.

-- Client secrets that were revoked: one by its id, or with the empty id all that the user got until then.
create table revocations (
    usr text not null,
    secret text not null,
    at bigint not null,
    primary key (usr, secret)
);
create index revocations_to_sweep on revocations (at);

-- One row that is written to in order to see whether that works.
create table pulse (
    id integer primary key,
    at bigint not null
);
