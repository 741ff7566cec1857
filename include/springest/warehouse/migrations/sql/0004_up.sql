-- What matching without proof needs: matches, what an attempt sent, scopes of snapshots, filters of the list.

ALTER TABLE springest.delivery_attempt
    ADD COLUMN certification_id BIGINT,
    ADD COLUMN valid_from DATE,
    ADD COLUMN valid_until DATE;
COMMENT ON COLUMN springest.delivery_attempt.certification_id IS 'Certification it was sent for';
COMMENT ON COLUMN springest.delivery_attempt.valid_from IS 'First day of validity that was sent';
COMMENT ON COLUMN springest.delivery_attempt.valid_until IS 'Last day of validity that was sent; null: none';
-- What was sent can not have changed since: a delivery that may have been taken keeps its content.
UPDATE springest.delivery_attempt AS attempt
SET certification_id = delivery.certification_id,
    valid_from = delivery.valid_from,
    valid_until = delivery.valid_until
FROM springest.delivery
WHERE delivery.delivery_key = attempt.delivery_key;

ALTER TABLE springest.snapshot
    ADD COLUMN scope TEXT NOT NULL DEFAULT 'full',
    ADD COLUMN scope_detail TEXT,
    ADD CONSTRAINT snapshot_scope_check CHECK (scope IN ('full', 'narrowed', 'owners')),
    ADD CONSTRAINT snapshot_partial_check CHECK (scope = 'full' OR NOT complete);
COMMENT ON COLUMN springest.snapshot.scope IS
    'full: the whole list; narrowed: a part by filters; owners: single learners'' certificates';
COMMENT ON COLUMN springest.snapshot.scope_detail IS 'Which filters, and why this scope';

ALTER TABLE springest.remote_certificate
    ADD COLUMN owner_told_by TEXT,
    ADD CONSTRAINT remote_certificate_owner_told_by_check CHECK (owner_told_by IN ('list', 'filter'));
COMMENT ON COLUMN springest.remote_certificate.owner_told_by IS
    'How the owner was told: list (in the row), filter (a GET filtered by the address)';
UPDATE springest.remote_certificate SET owner_told_by = 'list' WHERE learner_ref IS NOT NULL;

CREATE TABLE springest.delivery_match (
    delivery_key VARCHAR(64) NOT NULL,
    site TEXT NOT NULL,
    verification_status TEXT NOT NULL,
    match_method TEXT,
    springest_certificate_id BIGINT,
    candidates BIGINT[] NOT NULL,
    candidate_count INTEGER NOT NULL,
    evidence TEXT NOT NULL,
    review_reason TEXT,
    matched_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT delivery_match_pkey PRIMARY KEY (delivery_key),
    CONSTRAINT delivery_match_delivery_key_fkey FOREIGN KEY (delivery_key)
        REFERENCES springest.delivery (delivery_key),
    CONSTRAINT delivery_match_verification_status_check CHECK (verification_status IN ('inferred', 'ambiguous')),
    CONSTRAINT delivery_match_match_method_check CHECK (match_method IN ('inferred', 'set_complete'))
);
CREATE INDEX delivery_match_site_springest_certificate_id_idx
    ON springest.delivery_match (site, springest_certificate_id);
COMMENT ON TABLE springest.delivery_match IS
    'One row per delivery that Springest may show without proof; rewritten only when it changes';
COMMENT ON COLUMN springest.delivery_match.delivery_key IS 'Delivery';
COMMENT ON COLUMN springest.delivery_match.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.delivery_match.verification_status IS
    'What analysts are told: inferred or ambiguous; never verified, since this is no proof';
COMMENT ON COLUMN springest.delivery_match.match_method IS
    'inferred or set_complete; null: several fit and nothing tells them apart';
COMMENT ON COLUMN springest.delivery_match.springest_certificate_id IS
    'The certificate, where a single one was inferred';
COMMENT ON COLUMN springest.delivery_match.candidates IS
    'Springest''s ids of certificates that fit, the first ten';
COMMENT ON COLUMN springest.delivery_match.candidate_count IS 'How many fit in all';
COMMENT ON COLUMN springest.delivery_match.evidence IS 'What it rests on, to check by hand';
COMMENT ON COLUMN springest.delivery_match.review_reason IS 'Why a person should look; null: nobody needs to';
COMMENT ON COLUMN springest.delivery_match.matched_at IS 'When this last changed';

CREATE TABLE springest.owner_question (
    delivery_key VARCHAR(64) NOT NULL,
    asked_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    certificates INTEGER,
    CONSTRAINT owner_question_pkey PRIMARY KEY (delivery_key),
    CONSTRAINT owner_question_delivery_key_fkey FOREIGN KEY (delivery_key)
        REFERENCES springest.delivery (delivery_key)
);
COMMENT ON TABLE springest.owner_question IS
    'One row per delivery whose learner Springest was asked about, so that each has its turn';
COMMENT ON COLUMN springest.owner_question.delivery_key IS 'Delivery';
COMMENT ON COLUMN springest.owner_question.asked_at IS 'When it was last asked';
COMMENT ON COLUMN springest.owner_question.certificates IS
    'Certificates of the learner that were told; null: not asked';

CREATE TABLE springest.list_filter (
    site TEXT NOT NULL,
    filter TEXT NOT NULL,
    is_honoured BOOLEAN NOT NULL,
    evidence TEXT NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT list_filter_pkey PRIMARY KEY (site, filter),
    CONSTRAINT list_filter_filter_check CHECK (filter IN ('email', 'created_from', 'certification_id'))
);
COMMENT ON TABLE springest.list_filter IS
    'One row per filter of the list of certificates that was tried on a site';
COMMENT ON COLUMN springest.list_filter.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.list_filter.filter IS 'email, created_from or certification_id';
COMMENT ON COLUMN springest.list_filter.is_honoured IS 'Whether the site keeps to it';
COMMENT ON COLUMN springest.list_filter.evidence IS 'What that rests on';
COMMENT ON COLUMN springest.list_filter.checked_at IS 'When it was found out';

CREATE VIEW springest.unmatched_remote_certificate AS
SELECT remote.site, remote.springest_certificate_id, remote.certification_id,
       certification.name AS certification_name, remote.valid_from, remote.valid_until, remote.springest_status,
       remote.created_at, remote.learner_ref, remote.owner_told_by, remote.first_seen_at, remote.last_seen_at
FROM springest.remote_certificate AS remote
LEFT JOIN springest.certification AS certification
       ON certification.site = remote.site AND certification.certification_id = remote.certification_id
WHERE NOT EXISTS (SELECT FROM springest.delivery
                  WHERE delivery.site = remote.site
                    AND delivery.springest_certificate_id = remote.springest_certificate_id)
  AND NOT EXISTS (SELECT FROM springest.delivery_match AS inferred
                  WHERE inferred.site = remote.site
                    AND inferred.springest_certificate_id = remote.springest_certificate_id);
COMMENT ON VIEW springest.unmatched_remote_certificate IS
    'Certificates that Springest shows and that no delivery is known to be: uploaded by somebody else, or a tie';
COMMENT ON COLUMN springest.unmatched_remote_certificate.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.unmatched_remote_certificate.springest_certificate_id IS 'Springest''s id';
COMMENT ON COLUMN springest.unmatched_remote_certificate.certification_id IS 'Certification it belongs to';
COMMENT ON COLUMN springest.unmatched_remote_certificate.certification_name IS
    'Name of the certification, once it was listed';
COMMENT ON COLUMN springest.unmatched_remote_certificate.valid_from IS 'First day of validity';
COMMENT ON COLUMN springest.unmatched_remote_certificate.valid_until IS 'Last day of validity';
COMMENT ON COLUMN springest.unmatched_remote_certificate.springest_status IS 'Status as Springest words it';
COMMENT ON COLUMN springest.unmatched_remote_certificate.created_at IS
    'When Springest stored it; null where it told no zone';
COMMENT ON COLUMN springest.unmatched_remote_certificate.learner_ref IS
    'HMAC of the owner''s address, where the site tells the owner';
COMMENT ON COLUMN springest.unmatched_remote_certificate.owner_told_by IS
    'How the owner was told: list (in the row), filter (a GET filtered by the address)';
COMMENT ON COLUMN springest.unmatched_remote_certificate.first_seen_at IS
    'Start of the first snapshot that showed it';
COMMENT ON COLUMN springest.unmatched_remote_certificate.last_seen_at IS
    'Start of the last snapshot that showed it';
