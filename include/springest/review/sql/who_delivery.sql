-- One training's deliveries with their verdicts, and the certificate that each is matched with.
SELECT delivery.delivery_key,
       delivery.training_id,
       delivery.issue_no,
       delivery.version,
       delivery.state,
       delivery.reason,
       delivery.reason_detail,
       delivery.needs_review,
       delivery.review_reason,
       delivery.learner_ref,
       delivery.certification_id,
       certification.name AS certification_name,
       certification.listed_since,
       delivery.booking_id,
       delivery.valid_from,
       delivery.valid_until,
       delivery.completed_at,
       delivery.staged_run_id,
       delivery.created_at,
       delivery.updated_at,
       delivery.sent_at,
       delivery.springest_certificate_id,
       delivery.match_method,
       verdict.verification_status,
       verdict.match_evidence,
       verdict.springest_status,
       remote.created_at AS remote_created_at,
       remote.first_seen_at,
       remote.last_seen_at,
       (SELECT max(published_at) FROM springest.publication WHERE publication.site = delivery.site) AS reconciled_at
FROM springest.delivery AS delivery
LEFT JOIN springest.certification AS certification
       ON certification.site = delivery.site
      AND certification.certification_id = delivery.certification_id
LEFT JOIN springest.current_verdict AS verdict ON verdict.delivery_id = delivery.delivery_id
LEFT JOIN springest.seen_certificate AS remote
       ON remote.site = delivery.site
      AND remote.springest_certificate_id = delivery.springest_certificate_id
WHERE delivery.site = :site AND delivery.training_id = :training_id
ORDER BY delivery.issue_no
