-- Moves the events of orders that ended long ago from the log to a file, so that the disk does not grow for ever. The
-- orders themselves stay, and so do their Idempotency-Keys. By hand or once a night, on the primary:
--
--   psql -X -v days=400 -v file=/var/backups/lungo/events-2026-11-25.csv -f deploy/postgres/archive.sql "$LUNGO_DATABASE"
--
-- What it needs to know: afterwards getOrderEvents of these orders is an empty list, and a cursor of listEvents that
-- stands before them goes on with what is left. So keep more days than any partner may lag behind. The file has the
-- columns of order_events; `\copy order_events FROM …` brings them back.
--
-- What is deleted is exactly what can be read back from the file: all of it is one transaction, and a file that cannot be
-- written, or is not whole, undoes everything. It reads all orders once, and nobody waits for it: nobody writes these rows.
\set ON_ERROR_STOP on

BEGIN;
SET LOCAL synchronous_commit = on;
-- Money that is still owed or on its way keeps its story.
CREATE TEMPORARY TABLE archived ON COMMIT DROP AS
    SELECT id FROM orders
    WHERE closed_at < now() - :'days' * interval '1 day' AND owed = 0 AND stage IS NULL
        AND EXISTS (SELECT FROM order_events WHERE order_id = orders.id)
        AND NOT EXISTS (SELECT FROM deliveries WHERE order_id = orders.id AND next_attempt_at IS NOT NULL)
    -- So many at once that a standby replays them in seconds; run it again for more.
    LIMIT 100000;
ANALYZE archived;
\o :file
COPY (SELECT * FROM order_events WHERE order_id IN (SELECT id FROM archived) ORDER BY position)
    TO STDOUT (FORMAT csv, HEADER);
\o
CREATE TEMPORARY TABLE written (LIKE order_events) ON COMMIT DROP;
-- \copy itself replaces no variables.
\set read_back '\\copy written FROM ' :'file' ' (FORMAT csv, HEADER)'
:read_back
DELETE FROM order_events USING archived WHERE order_events.order_id = archived.id;
\set deleted :ROW_COUNT
SELECT count(*) = :deleted AS same, count(*) AS written FROM written \gset
\if :same
    COMMIT;
    \echo :written events were moved to :file
\else
    ROLLBACK;
    \warn :deleted events should have been written, and :written were: nothing was changed
    DO 'BEGIN RAISE EXCEPTION $$the file is not whole$$; END';
\endif
