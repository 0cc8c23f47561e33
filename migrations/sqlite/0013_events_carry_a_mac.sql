-- Each event carries a message authentication code (docs/decisions/0016). Events that are there already get theirs from
-- `grantlog migrate` or `serve`, behind this migration; from here on nobody appends one without.
ALTER TABLE events ADD COLUMN mac TEXT;
CREATE TRIGGER events_mac BEFORE INSERT ON events WHEN NEW.mac IS NULL
BEGIN
    SELECT RAISE(ABORT, 'an event needs a code');
END;

-- What an event says and where it stands never changes. Its code may, when it gets one and when the key changes.
DROP TRIGGER events_no_update;
CREATE TRIGGER events_no_update BEFORE UPDATE ON events WHEN OLD.position IS NOT NULL AND (
    NEW.mac IS NULL
    OR (OLD.aggregate_type, OLD.aggregate_id, OLD.sequence, OLD.event_type, OLD.event_version, OLD.payload, OLD.metadata,
        OLD.txid, OLD.position, OLD.recorded_at)
    IS NOT (NEW.aggregate_type, NEW.aggregate_id, NEW.sequence, NEW.event_type, NEW.event_version, NEW.payload,
        NEW.metadata, NEW.txid, NEW.position, NEW.recorded_at))
BEGIN
    SELECT RAISE(ABORT, 'the event log is append-only: UPDATE refused');
END;

-- When the events that were there before were taken for true, in Unix seconds; 0 when there were none, and NULL until then.
ALTER TABLE log_identity ADD COLUMN attested_at INTEGER;
UPDATE log_identity SET attested_at = 0 WHERE NOT EXISTS (SELECT 1 FROM events);
