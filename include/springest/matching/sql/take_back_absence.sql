-- What seemed absent, and something that fits is shown by now: releasing it does not look safe any more.
UPDATE springest.delivery AS delivery
SET reason = 'tie',
    reason_detail = 'Springest seemed not to have it, and shows what fits by now: do not release it before somebody '
                    || 'has looked at ' || array_to_string(found.candidates, ', ') || ' in Springest''s admin',
    version = delivery.version + 1,
    updated_at = clock_timestamp()
FROM springest.delivery_match AS found
WHERE delivery.delivery_id = found.delivery_id
  AND delivery.site = :site
  AND delivery.indexed_state = 'review'
  AND delivery.reason = 'absent'
