SELECT delivery.delivery_key, decision.decision_id, decision.decided_at, decision.decided_by, decision.decision,
       decision.reason, decision.springest_certificate_id, decision.from_state, decision.to_state,
       decision.without_evidence, decision.evidence
FROM springest.delivery
JOIN springest.delivery_decision AS decision USING (delivery_id)
WHERE delivery.delivery_key = ANY(CAST(:keys AS text[]))
ORDER BY decision.decision_id
