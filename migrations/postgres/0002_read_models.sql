-- What the projection engine knows of its tables. The tables themselves are made by the engine, one for each build of a
-- projection, because a rebuild makes a new one beside the old one; `NAME_vVERSION` is a view of the one that answers.
-- All of this can be thrown away and built again from the log.

-- How far each table has come; locked while it is written to.
CREATE TABLE projection_checkpoint (
    table_name  text   COLLATE "C" PRIMARY KEY,
    name        text   COLLATE "C" NOT NULL,
    version     bigint NOT NULL,
    txid        bigint NOT NULL,
    position    bigint NOT NULL,
    -- Unix milliseconds: when the last event that it has taken in was recorded.
    recorded_at bigint NOT NULL
);

-- Which table answers for a version of a projection. Different versions of the program may use different ones.
CREATE TABLE active_projection (
    name       text   COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    table_name text   COLLATE "C" NOT NULL REFERENCES projection_checkpoint (table_name),
    PRIMARY KEY (name, version)
);

-- Events that a table could not take in, and the later ones of the same aggregate, which are held back.
CREATE TABLE projection_poison (
    table_name     text   COLLATE "C" NOT NULL,
    aggregate_type text   COLLATE "C" NOT NULL,
    aggregate_id   text   COLLATE "C" NOT NULL,
    sequence       bigint NOT NULL,
    error          text   NOT NULL,
    -- Unix milliseconds: when the event was recorded.
    recorded_at    bigint NOT NULL,
    PRIMARY KEY (table_name, aggregate_type, aggregate_id, sequence)
);
