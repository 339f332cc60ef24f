-- Both SQLite and PostgreSQL run this file.

-- What an owner has uploaded and not sent is counted before each upload.
create index attachments_unsent on attachments (workflow, usr) where thread_id is null;
