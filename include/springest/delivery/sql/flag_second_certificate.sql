-- A late 201 of a delivery that a person released and that is being sent again, or was: Springest may have it twice.
-- No new version: the worker that is sending it must still be able to say how that went.
UPDATE springest.delivery
SET needs_review = true,
    review_reason = format('taken_twice(attempt %s: certificate %s)', CAST(:attempt_id AS bigint),
                           CAST(:springest_certificate_id AS bigint)),
    updated_at = clock_timestamp()
WHERE delivery_key = :delivery_key
  AND springest_certificate_id IS DISTINCT FROM CAST(:springest_certificate_id AS bigint)
