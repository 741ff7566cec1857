-- Owners that Springest names for certificates of erased learners may be the learners themselves, under another address
-- or after an erasure was lifted, so their references are not stored. The marker set by `erase_owners.sql` stays.
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
