-- Two words stand where an owner's reference stood, so that what was known to disagree does not seem to agree:
-- `forgotten`: the owner is an erased learner. `other`: the certificate was sent for an erased learner, and its owner is
-- somebody else, who may be the same person under another address.
UPDATE springest.remote_certificate AS remote
SET learner_ref = CASE WHEN remote.learner_ref = :learner_ref THEN 'forgotten' ELSE 'other' END
WHERE remote.learner_ref = :learner_ref
   OR (remote.learner_ref IS NOT NULL
       AND remote.learner_ref <> 'other'
       AND (remote.site, remote.springest_certificate_id) IN (
           SELECT theirs.site, theirs.springest_certificate_id
           FROM springest.delivery AS theirs
           WHERE theirs.delivery_id = ANY(CAST(:delivery_ids AS bigint[]))))
