-- The decision and its effect in one statement: neither exists without the other.
WITH moved AS (
    UPDATE springest.delivery
    SET state = :to_state,
        reason = :state_reason,
        reason_detail = :state_detail,
        springest_certificate_id = :certificate_id_after,
        match_method = :match_method_after,
        duplicate_released = :duplicate_released,
        needs_review = :needs_review,
        review_reason = :review_reason,
        version = version + 1,
        updated_at = clock_timestamp()
    WHERE delivery_key = :delivery_key AND version = :version AND state = :from_state
    RETURNING delivery_id
)
INSERT INTO springest.delivery_decision
    (delivery_id, decided_by, decision, reason, springest_certificate_id, version, from_state, to_state,
     without_evidence, evidence)
SELECT delivery_id, :decided_by, :decision, :reason, CAST(:springest_certificate_id AS bigint), :version,
       :from_state, :to_state, :without_evidence, CAST(:evidence AS jsonb)
FROM moved
RETURNING decision_id, decided_at
