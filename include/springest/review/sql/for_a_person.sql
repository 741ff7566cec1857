-- Deliveries that wait for a person, or those in the requested states. With `any_state`, a reason finds any state, and a
-- run finds everything that did not succeed.
SELECT delivery.delivery_key,
       delivery.training_id,
       delivery.issue_no,
       delivery.version,
       delivery.state,
       delivery.reason,
       delivery.reason_detail,
       COALESCE(CASE WHEN verdict.delivery_state = delivery.state THEN verdict.review_reason END,
                delivery.review_reason) AS review_reason,
       delivery.certification_id,
       certification.name AS certification_name,
       delivery.valid_from,
       delivery.springest_certificate_id,
       delivery.sent_at,
       delivery.updated_at
FROM springest.delivery AS delivery
LEFT JOIN springest.certification AS certification
       ON certification.site = delivery.site
      AND certification.certification_id = delivery.certification_id
LEFT JOIN springest.current_verdict AS verdict ON verdict.delivery_id = delivery.delivery_id
WHERE delivery.site = :site
  AND delivery.delivery_id IN (
      SELECT delivery_id FROM springest.delivery
      WHERE site = :site AND state = ANY(CAST(:states AS text[]))
      UNION ALL
      SELECT delivery_id FROM springest.delivery
      WHERE CAST(:states AS text[]) IS NULL AND site = :site
        AND (training_id = ANY(CAST(:training_ids AS text[]))
             OR CAST(:training_ids AS text[]) IS NULL
             AND CAST(:any_state AS boolean)
             AND (CAST(:reason AS text) IS NOT NULL
                  OR CAST(:run_id AS text) IS NOT NULL AND state NOT IN ('accepted', 'accepted_no_id', 'visible')))
      UNION ALL
      SELECT delivery_id FROM springest.needs_person
      WHERE CAST(:states AS text[]) IS NULL AND CAST(:training_ids AS text[]) IS NULL AND site = :site)
  AND (CAST(:reason AS text) IS NULL OR delivery.reason = :reason OR delivery.review_reason = :reason
       OR (verdict.review_reason = :reason AND verdict.delivery_state = delivery.state))
  AND (CAST(:certification_id AS bigint) IS NULL OR delivery.certification_id = :certification_id)
  AND (CAST(:training_ids AS text[]) IS NULL OR delivery.training_id = ANY(CAST(:training_ids AS text[])))
  AND (CAST(:run_id AS text) IS NULL
       OR delivery.staged_run_id = :run_id
       OR EXISTS (SELECT FROM springest.delivery_attempt AS attempt
                  WHERE attempt.delivery_id = delivery.delivery_id AND attempt.run_id = :run_id))
ORDER BY delivery.sent_at NULLS LAST, delivery.training_id, delivery.issue_no
LIMIT :limit
