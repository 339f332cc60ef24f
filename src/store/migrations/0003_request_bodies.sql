-- The body that came with a key of the client's choice, as a fingerprint: with another body the key is refused.
alter table threads add column turn_body text;
alter table threads add column create_body text;
