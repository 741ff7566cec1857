-- Room for certificates that are seen once more to be updated in place, and no look-up of their snapshot for each.
ALTER TABLE springest.remote_certificate
    DROP CONSTRAINT remote_certificate_first_snapshot_id_fkey,
    DROP CONSTRAINT remote_certificate_last_snapshot_id_fkey,
    SET (fillfactor = 60);
ALTER TABLE springest.delivery SET (fillfactor = 70);

-- A run's own part of the queue, in its order.
CREATE INDEX delivery_queue_of_run_idx ON springest.delivery (site, staged_run_id, created_at, delivery_key)
    WHERE state = 'ready';
