DROP INDEX springest.delivery_queue_idx;
DROP INDEX springest.delivery_queue_of_run_idx;
DROP INDEX springest.delivery_indexed_state_idx;
ALTER TABLE springest.delivery DROP COLUMN indexed_state;
ALTER TABLE springest.delivery SET (fillfactor = 70);
CREATE INDEX delivery_state_idx ON springest.delivery (site, state);
CREATE INDEX delivery_queue_idx ON springest.delivery (site, created_at, delivery_key) WHERE state = 'ready';
CREATE INDEX delivery_queue_of_run_idx ON springest.delivery (site, staged_run_id, created_at, delivery_key)
    WHERE state = 'ready';
