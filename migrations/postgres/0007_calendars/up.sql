-- What a shop has of the options of drinks, and on which dates shops keep other hours: small and read as
-- a whole, like the rest of the catalogue.
CREATE TABLE shop_options (
    shop_id   uuid NOT NULL REFERENCES shops (id),
    option_id text COLLATE "C" NOT NULL,
    body      json NOT NULL,
    PRIMARY KEY (shop_id, option_id)
);

-- The owner is a shop, or a partner for all of its shops. Beside their documents, not in them: an instance of the build
-- before goes on reading those.
CREATE TABLE calendars (
    owner_id uuid PRIMARY KEY NOT NULL,
    body     json NOT NULL
);
