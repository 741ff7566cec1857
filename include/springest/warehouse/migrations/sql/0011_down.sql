ALTER TABLE springest.remote_certificate RESET (fillfactor);
