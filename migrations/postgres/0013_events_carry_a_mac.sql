-- Each event carries a message authentication code (docs/decisions/0016). Events that are there already get theirs from
-- `grantlog migrate`, behind this migration; from here on nobody appends one without, whatever version they run.
ALTER TABLE events ADD COLUMN mac text COLLATE "C";
ALTER TABLE events_base ADD COLUMN mac text COLLATE "C";

DO $$
BEGIN
    IF EXISTS (SELECT FROM events) THEN
        -- Holds for new events at once; validated when the old ones have their codes.
        ALTER TABLE events ADD CONSTRAINT events_mac CHECK (mac IS NOT NULL) NOT VALID;
    ELSE
        ALTER TABLE events ADD CONSTRAINT events_mac CHECK (mac IS NOT NULL);
    END IF;
END
$$;

-- What an event says and where it stands never changes. Its code may, by who owns the log: when it gets one, and when the
-- key changes. A wrong one can only end something.
CREATE FUNCTION refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.mac IS NOT NULL THEN
        IF (OLD.aggregate_type, OLD.aggregate_id, OLD.sequence, OLD.event_type, OLD.event_version, OLD.payload::text,
            OLD.metadata::text, OLD.txid, OLD.position, OLD.recorded_at)
         = (NEW.aggregate_type, NEW.aggregate_id, NEW.sequence, NEW.event_type, NEW.event_version, NEW.payload::text,
            NEW.metadata::text, NEW.txid, NEW.position, NEW.recorded_at) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the event log is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
DROP TRIGGER events_append_only ON events;
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_event_change();
DROP TRIGGER events_base_no_update ON events_base;
CREATE TRIGGER events_base_no_update BEFORE UPDATE ON events_base
    FOR EACH ROW EXECUTE FUNCTION refuse_event_change();

-- When the events that were there before were taken for true, in Unix seconds; 0 when there were none, and NULL until then.
ALTER TABLE log_identity ADD COLUMN attested_at bigint;
UPDATE log_identity SET attested_at = 0
    WHERE NOT EXISTS (SELECT FROM events) AND NOT EXISTS (SELECT FROM events_base);
