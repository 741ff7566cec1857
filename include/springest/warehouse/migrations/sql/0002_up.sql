-- What absence and ownership need: since when a certification is listed, and what proved a match.

ALTER TABLE springest.certification ADD COLUMN listed_since TIMESTAMP WITH TIME ZONE;
COMMENT ON COLUMN springest.certification.listed_since IS
    'Since when it has been listed without a break; null: it is not';
-- Nobody noted when it began: the last time is the latest it can have been.
UPDATE springest.certification SET listed_since = last_seen_at WHERE is_listed;
ALTER TABLE springest.certification
    ADD CONSTRAINT certification_listed_since_check CHECK (is_listed = (listed_since IS NOT NULL));

ALTER TABLE springest.delivery ADD COLUMN match_method TEXT;
COMMENT ON COLUMN springest.delivery.match_method IS 'What proved that it is that one; null: nothing has yet';
UPDATE springest.delivery SET match_method = 'springest_id' WHERE state = 'visible';
ALTER TABLE springest.delivery
    ADD CONSTRAINT delivery_match_method_check CHECK (match_method IN ('springest_id', 'owner')),
    ADD CONSTRAINT delivery_matched_has_id_check
        CHECK (match_method IS NULL OR springest_certificate_id IS NOT NULL);
