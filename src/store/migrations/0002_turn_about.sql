-- What the last claim is about, as JSON: the same request elsewhere is told that answer, or takes up that one.
alter table threads add column turn_about text;
