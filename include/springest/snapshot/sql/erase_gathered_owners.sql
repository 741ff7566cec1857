-- The owner that Springest names for a certificate that was sent for an erased learner: it may be them, under
-- another address or after they have come back, so no reference of it is kept. What was known of the owner when the learner
-- was erased stays known; see `erase_owners.sql`.
UPDATE pg_temp.gathered AS gathered
SET learner_ref = COALESCE((SELECT remote.learner_ref
                            FROM springest.remote_certificate AS remote
                            WHERE remote.site = delivery.site
                              AND remote.springest_certificate_id = gathered.springest_certificate_id
                              AND remote.learner_ref IN ('forgotten', 'other')),
                           CASE gathered.learner_ref WHEN 'forgotten' THEN 'forgotten' ELSE 'other' END)
FROM springest.delivery AS delivery
WHERE delivery.site = :site
  AND delivery.springest_certificate_id = gathered.springest_certificate_id
  AND delivery.learner_ref IS NULL
  AND gathered.learner_ref IS NOT NULL
