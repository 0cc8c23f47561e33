-- The log is looked through by its positions, a part at a time (feed/ahead.rs): nothing asks for these any more, and one of them did
-- not know all that it was asked for.
DROP INDEX events_with_consequences;
