-- Clients that registered themselves and are not deleted for want of use: they got a grant once, or are from before that was
-- kept. No read model: grants leave theirs when they have expired.
CREATE TABLE used_clients (
    client_id text PRIMARY KEY
);
