-- Both SQLite and PostgreSQL run this file.

-- What a user keeps, with every agent, is summed up before each upload, from this index alone.
drop index attachments_unsent;
create index attachments_of_user on attachments (usr, size, thread_id);
