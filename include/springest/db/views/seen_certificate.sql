-- No security barrier: readers may not read it, and other views look up single rows in it.
CREATE OR REPLACE VIEW springest.seen_certificate AS
SELECT CASE WHEN remote.lacked_at IS NULL
            THEN GREATEST(remote.recorded_at, complete.started_at) ELSE remote.recorded_at END AS last_seen_at,
       remote.* -- last: a new column of the table must come after all others
FROM springest.remote_certificate AS remote
LEFT JOIN (SELECT site, max(started_at) AS started_at FROM springest.snapshot WHERE snapshot.complete GROUP BY site) AS complete
       USING (site);

COMMENT ON VIEW springest.seen_certificate IS
    'Certificates that Springest has shown, with the time when each was last seen';
COMMENT ON COLUMN springest.seen_certificate.site IS
    'Name of the Springest site';
COMMENT ON COLUMN springest.seen_certificate.springest_certificate_id IS
    'Springest''s id';
COMMENT ON COLUMN springest.seen_certificate.certification_id IS
    'Springest''s id of the certification';
COMMENT ON COLUMN springest.seen_certificate.valid_from IS
    'First day of validity';
COMMENT ON COLUMN springest.seen_certificate.valid_until IS
    'Last day of validity';
COMMENT ON COLUMN springest.seen_certificate.springest_status IS
    'Status, in Springest''s own word';
COMMENT ON COLUMN springest.seen_certificate.created_at IS
    'When Springest stored it; null: the time had no zone';
COMMENT ON COLUMN springest.seen_certificate.learner_ref IS
    'HMAC of the owner''s e-mail address, if the site names the owner; the word forgotten, if the owner was erased; the word other, if the learner it was sent for was erased and is not the owner';
COMMENT ON COLUMN springest.seen_certificate.first_snapshot_id IS
    'First snapshot that showed it';
COMMENT ON COLUMN springest.seen_certificate.first_seen_at IS
    'Start of the first snapshot that showed it';
COMMENT ON COLUMN springest.seen_certificate.recorded_at IS
    'Start of the last snapshot that wrote this row and showed the certificate; later complete ones showed it unchanged, '
    'unless lacked_at is set';
COMMENT ON COLUMN springest.seen_certificate.lacked_at IS
    'Start of the first complete snapshot that lacked it since it was last shown; null: none';
COMMENT ON COLUMN springest.seen_certificate.owner_told_by IS
    'Source of the owner: list (in the row), filter (a GET filtered by e-mail address)';
COMMENT ON COLUMN springest.seen_certificate.last_seen_at IS
    'Start of the last snapshot that showed it';
