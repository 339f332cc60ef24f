-- Both SQLite and PostgreSQL run this file. Times are microseconds since the Unix epoch, `data` is JSON as the wire has it.

create table threads (
    id text primary key,
    workflow text not null,
    usr text not null,
    created_at bigint not null,
    touched_at bigint not null,
    -- The place of the item that came last.
    last_seq bigint not null,
    data text not null,
    -- The last claim. Without a holder, nobody's turn runs; a key without a holder is a turn that did not get through.
    turn_key text,
    turn_holder text,
    turn_until bigint not null,
    -- The request that made the thread, until its answer has got through, and how long it counts.
    create_key text,
    create_until bigint not null
);
-- For lists alone. With the plain column, a planner that takes an owner to have only one thread would also look for a thread by
-- its id here, and go through all of its owner's.
create index threads_of_owner on threads ((workflow || ''), usr, created_at, id);
create unique index threads_by_request on threads (workflow, usr, create_key) where create_key is not null;
create index threads_by_touch on threads (touched_at, id);

create table items (
    thread_id text not null references threads (id) on delete cascade,
    seq bigint not null,
    id text not null,
    hidden boolean not null,
    data text not null,
    primary key (thread_id, id)
);
-- For lists alone, like the one above.
create unique index items_in_order on items ((thread_id || ''), seq);

create table feedback (
    thread_id text not null,
    item_id text not null,
    kind text not null,
    at bigint not null,
    primary key (thread_id, item_id),
    foreign key (thread_id, item_id) references items (thread_id, id) on delete cascade
);

create table attachments (
    id text primary key,
    workflow text not null,
    usr text not null,
    -- The thread of the message that carries it, once one does.
    thread_id text references threads (id) on delete cascade,
    data text not null,
    size bigint not null,
    is_uploaded boolean not null,
    created_at bigint not null
);
create index attachments_of_thread on attachments (thread_id) where thread_id is not null;
create index attachments_to_sweep on attachments (created_at, id) where thread_id is null;
