-- Whoever Springest names as the owner of a certificate that was sent for a learner who was forgotten: it may be them under
-- another address. That it was somebody else than the learner it was sent for stays known, and stays so, see
-- `forget_owners.sql`.
UPDATE pg_temp.gathered AS gathered
SET learner_ref = 'other'
FROM springest.delivery AS delivery
WHERE delivery.site = :site
  AND delivery.springest_certificate_id = gathered.springest_certificate_id
  AND delivery.learner_ref IS NULL
  AND gathered.learner_ref IS NOT NULL
  AND (gathered.learner_ref <> 'forgotten'
       OR EXISTS (SELECT FROM springest.remote_certificate AS remote
                  WHERE remote.site = delivery.site
                    AND remote.springest_certificate_id = gathered.springest_certificate_id
                    AND remote.learner_ref = 'other'))
