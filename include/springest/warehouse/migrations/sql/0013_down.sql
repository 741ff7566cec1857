-- What people wrote is not brought back.
UPDATE springest.remote_certificate
SET learner_ref = NULL
WHERE learner_ref IN ('forgotten', 'other');

COMMENT ON COLUMN springest.remote_certificate.learner_ref IS
    'HMAC of the owner''s address, where the site tells the owner';
