-- A late 201 for a delivery that a person released and that is being sent again, or was: Springest may have it twice.
-- The version stays, so that the worker that is sending it can still record its outcome.
UPDATE springest.delivery
SET needs_review = true,
    review_reason = format('stored_twice(attempt %s: certificate %s)', CAST(:attempt_id AS bigint),
                           CAST(:springest_certificate_id AS bigint)),
    updated_at = clock_timestamp()
WHERE delivery_key = :delivery_key
  AND springest_certificate_id IS DISTINCT FROM CAST(:springest_certificate_id AS bigint)
