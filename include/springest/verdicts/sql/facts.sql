-- The inputs of a verdict; a part of `compute_verdicts.sql` and of `find_stale_verdicts.sql`.
FROM springest.delivery AS delivery
LEFT JOIN springest.certification AS certification
       ON certification.site = delivery.site
      AND certification.certification_id = delivery.certification_id
-- Workers and people don't wait for the site's lock: a change since the matching counts, and a match
-- without proof is then dropped.
LEFT JOIN springest.delivery_match AS matched
       ON matched.delivery_id = delivery.delivery_id
      AND ((delivery.springest_certificate_id IS NULL AND delivery.state IN ('unknown', 'accepted_no_id', 'review'))
           OR (delivery.state = 'visible' AND delivery.match_method = 'owner'))
LEFT JOIN (
    -- Every night shows it once more: only when it was seen last is no part of it.
    SELECT shown.*,
           hash_record_extended(
               ROW(int8send(shown.certification_id), shown.valid_from, shown.valid_until, shown.springest_status,
                   shown.learner_ref, shown.owner_told_by, timestamptz_send(shown.first_seen_at),
                   int8send(shown.first_snapshot_id),
                   shown.valid_until < CAST(:today AS date)), 0) AS digest
    FROM springest.remote_certificate AS shown
    WHERE shown.site = :site
) AS remote
       ON remote.springest_certificate_id
          = COALESCE(delivery.springest_certificate_id, matched.springest_certificate_id)
LEFT JOIN (
    SELECT DISTINCT ON (delivery_id) delivery_id, decision_id, decided_at, evidence, xmin AS changed_by
    FROM springest.delivery_decision
    WHERE decision = 'confirm'
    ORDER BY delivery_id, decision_id DESC
) AS confirmed ON confirmed.delivery_id = delivery.delivery_id
LEFT JOIN pg_temp.id_used_twice AS twice ON twice.springest_certificate_id = delivery.springest_certificate_id
WHERE delivery.site = :site
