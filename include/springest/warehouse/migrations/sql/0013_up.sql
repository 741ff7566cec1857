-- What disagreed is not known any more for those who were forgotten before.
UPDATE springest.remote_certificate AS remote
SET learner_ref = 'other'
FROM springest.delivery AS delivery
WHERE delivery.site = remote.site
  AND delivery.springest_certificate_id = remote.springest_certificate_id
  AND delivery.row_version = repeat('0', 64)
  AND remote.learner_ref IS NOT NULL;

UPDATE springest.remote_certificate
SET learner_ref = 'forgotten'
WHERE learner_ref IS NULL AND owner_told_by IS NOT NULL;

UPDATE springest.delivery
SET reason_detail = regexp_replace(reason_detail, ' by .*', ' by a person: `bin/springest review show` tells who and why')
WHERE reason IN ('released', 'confirmed_by_person', 'cancelled_by_person', 'reopened');

UPDATE springest.delivery_decision AS decision
SET reason = 'cleared: the learner was forgotten'
FROM springest.delivery AS delivery
WHERE delivery.delivery_key = decision.delivery_key
  AND delivery.row_version = repeat('0', 64);

COMMENT ON COLUMN springest.remote_certificate.learner_ref IS
    'HMAC of the owner''s address, where the site tells the owner; the word forgotten, where the owner was forgotten; the word other, where the learner it was sent for was forgotten and is not the owner';
