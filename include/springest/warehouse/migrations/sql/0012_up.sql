-- A certification that is verified makes thousands of deliveries visible at once. As long as an index knew `accepted` from
-- `visible`, each of them got a new entry in every index. The table is written anew, with room on its pages, so all
-- verdicts are judged anew once.
DROP INDEX springest.delivery_queue_idx;
DROP INDEX springest.delivery_queue_of_run_idx;
DROP INDEX springest.delivery_state_idx;
ALTER TABLE springest.delivery SET (fillfactor = 50);
ALTER TABLE springest.delivery ADD COLUMN indexed_state TEXT
    GENERATED ALWAYS AS (CASE WHEN state NOT IN ('accepted', 'visible') THEN state END) STORED;
COMMENT ON COLUMN springest.delivery.indexed_state IS 'The state, as indexes know it; null: accepted or visible';
CREATE INDEX delivery_queue_idx ON springest.delivery (site, created_at, delivery_key) WHERE indexed_state = 'ready';
CREATE INDEX delivery_queue_of_run_idx ON springest.delivery (site, staged_run_id, created_at, delivery_key)
    WHERE indexed_state = 'ready';
CREATE INDEX delivery_indexed_state_idx ON springest.delivery (site, indexed_state) WHERE indexed_state IS NOT NULL;
ANALYZE springest.delivery;
