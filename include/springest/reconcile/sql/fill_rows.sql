-- Every certificate that was shown and that no delivery has by its id. `seen_by`: when it was there at the latest.
-- One that two complete snapshots lack is gone: nothing is told of it, and what came from where it came stays known.
INSERT INTO pg_temp.matching_row
SELECT remote.springest_certificate_id, remote.certification_id, remote.valid_from, remote.valid_until,
       COALESCE(remote.valid_until, 'infinity'), remote.learner_ref, remote.created_at,
       COALESCE(first.finished_at, 'infinity'),
       COALESCE(remote.last_seen_at < CAST(:since AS timestamptz), false),
       remote.springest_status
FROM springest.remote_certificate AS remote
JOIN springest.snapshot AS first ON first.snapshot_id = remote.first_snapshot_id
WHERE remote.site = :site
  AND NOT EXISTS (SELECT FROM springest.delivery AS claimed
                  WHERE claimed.site = remote.site
                    AND claimed.springest_certificate_id = remote.springest_certificate_id)
