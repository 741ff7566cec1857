CREATE OR REPLACE VIEW springest.unmatched_remote_certificate WITH (security_barrier) AS
SELECT remote.site, remote.springest_certificate_id, remote.certification_id,
       certification.name AS certification_name, remote.valid_from, remote.valid_until, remote.springest_status,
       remote.created_at,
       -- A word instead of a reference marks an erased owner.
       CAST(CASE WHEN remote.learner_ref NOT IN ('forgotten', 'other') THEN remote.learner_ref END AS varchar(64))
           AS learner_ref,
       remote.owner_told_by, remote.first_seen_at, remote.last_seen_at
FROM springest.seen_certificate AS remote
LEFT JOIN springest.certification AS certification
       ON certification.site = remote.site AND certification.certification_id = remote.certification_id
LEFT JOIN (
    -- The earlier of the last two complete snapshots that are a day apart: certificates not shown since are gone.
    SELECT earlier.site, max(earlier.started_at) AS since
    FROM springest.snapshot AS earlier
    JOIN (SELECT site, max(started_at) AS started_at FROM springest.snapshot WHERE complete GROUP BY site) AS newest
      ON newest.site = earlier.site AND earlier.started_at <= newest.started_at - interval '24 hours'
    WHERE earlier.complete
    GROUP BY earlier.site
) AS watched ON watched.site = remote.site
WHERE COALESCE(remote.lacked_at > watched.since, true)
  AND NOT EXISTS (SELECT FROM springest.delivery
                  WHERE delivery.site = remote.site
                    AND delivery.springest_certificate_id = remote.springest_certificate_id)
  AND NOT EXISTS (SELECT FROM springest.delivery_match AS inferred
                  WHERE inferred.site = remote.site
                    AND inferred.springest_certificate_id = remote.springest_certificate_id);

COMMENT ON VIEW springest.unmatched_remote_certificate IS
    'Certificates that Springest shows and that belong to no known delivery: uploaded by somebody else, or a tie. '
    'They stay until they are absent from two complete snapshots a day apart';
COMMENT ON COLUMN springest.unmatched_remote_certificate.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.unmatched_remote_certificate.springest_certificate_id IS 'Springest''s id';
COMMENT ON COLUMN springest.unmatched_remote_certificate.certification_id IS 'Springest''s id of the certification';
COMMENT ON COLUMN springest.unmatched_remote_certificate.certification_name IS
    'Name of the certification; null: never listed';
COMMENT ON COLUMN springest.unmatched_remote_certificate.valid_from IS 'First day of validity';
COMMENT ON COLUMN springest.unmatched_remote_certificate.valid_until IS 'Last day of validity';
COMMENT ON COLUMN springest.unmatched_remote_certificate.springest_status IS 'Status, in Springest''s own word';
COMMENT ON COLUMN springest.unmatched_remote_certificate.created_at IS
    'When Springest stored it; null: the time had no zone';
COMMENT ON COLUMN springest.unmatched_remote_certificate.learner_ref IS
    'HMAC of the owner''s e-mail address, if Springest names the owner; null: not named, or erased';
COMMENT ON COLUMN springest.unmatched_remote_certificate.owner_told_by IS
    'Source of the owner: list (in the row), filter (a GET filtered by e-mail address)';
COMMENT ON COLUMN springest.unmatched_remote_certificate.first_seen_at IS 'Start of the first snapshot that showed it';
COMMENT ON COLUMN springest.unmatched_remote_certificate.last_seen_at IS 'Start of the last snapshot that showed it';
