SELECT delivery_key, decision_id, decided_at, decided_by, decision, reason, springest_certificate_id, from_state,
       to_state, without_evidence, evidence
FROM springest.delivery_decision
WHERE delivery_key = ANY(CAST(:keys AS text[]))
ORDER BY decision_id
