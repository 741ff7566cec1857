-- Compare-and-set, lease and attempt in one commit: it stands before the first byte leaves.
WITH claimed AS (
    UPDATE springest.delivery
    SET state = 'sending',
        reason = NULL,
        reason_detail = NULL,
        lease_owner = :worker,
        lease_until = clock_timestamp() + make_interval(secs => :lease_seconds),
        document_sha256 = :document_sha256,
        document_size = :document_size,
        version = version + 1,
        updated_at = clock_timestamp()
    WHERE delivery_key = :delivery_key AND state = 'ready' AND version = :version
    RETURNING delivery_key, certification_id, valid_from, valid_until
)
INSERT INTO springest.delivery_attempt
    (delivery_key, run_id, worker, document_sha256, certification_id, valid_from, valid_until)
SELECT delivery_key, :run_id, :worker, :document_sha256, certification_id, valid_from, valid_until
FROM claimed
RETURNING attempt_id
