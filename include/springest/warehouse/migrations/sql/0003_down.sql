-- Without a place for it, what a person confirmed would look like proof by id: it is unknown again, and not sent.
UPDATE springest.delivery
SET state = 'unknown',
    reason = 'answer_lost',
    reason_detail = 'a person had confirmed it, which this version has no place for',
    springest_certificate_id = NULL,
    match_method = NULL,
    version = version + 1
WHERE match_method = 'person' AND state <> 'cancelled';
-- What a person cancelled stays so.
UPDATE springest.delivery SET match_method = NULL, version = version + 1 WHERE match_method = 'person';
ALTER TABLE springest.delivery
    DROP CONSTRAINT delivery_match_method_check,
    ADD CONSTRAINT delivery_match_method_check CHECK (match_method IN ('springest_id', 'owner'));
ALTER TABLE springest.delivery DROP COLUMN duplicate_released;
DROP TABLE springest.ledger_restoration;
DROP TABLE springest.delivery_decision;
