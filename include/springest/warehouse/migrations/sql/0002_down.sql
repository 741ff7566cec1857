-- Without a place for it, a match by owner would look like one by id: what was matched so is unknown again.
UPDATE springest.delivery
SET state = CASE WHEN sent_at IS NULL THEN 'held' ELSE 'unknown' END,
    reason = CASE WHEN sent_at IS NULL THEN 'before_cutover' ELSE 'answer_lost' END,
    springest_certificate_id = NULL,
    match_method = NULL,
    version = version + 1
WHERE match_method = 'owner';
ALTER TABLE springest.delivery DROP COLUMN match_method;
ALTER TABLE springest.certification DROP COLUMN listed_since;
