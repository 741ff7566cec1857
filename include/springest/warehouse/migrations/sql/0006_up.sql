-- Room for certificates that are seen once more to be updated in place, and no look-up of their snapshot for each.
ALTER TABLE springest.remote_certificate
    DROP CONSTRAINT remote_certificate_first_snapshot_id_fkey,
    DROP CONSTRAINT remote_certificate_last_snapshot_id_fkey,
    SET (fillfactor = 60);
ALTER TABLE springest.delivery SET (fillfactor = 70);
