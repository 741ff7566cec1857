ALTER TABLE springest.delivery RESET (fillfactor);
ALTER TABLE springest.remote_certificate
    RESET (fillfactor),
    ADD CONSTRAINT remote_certificate_first_snapshot_id_fkey FOREIGN KEY (first_snapshot_id)
        REFERENCES springest.snapshot (snapshot_id),
    ADD CONSTRAINT remote_certificate_last_snapshot_id_fkey FOREIGN KEY (last_snapshot_id)
        REFERENCES springest.snapshot (snapshot_id);
