-- Candidates that say what is published already are none; what they were made from is noted.
WITH same AS (
    DELETE FROM springest.reconciled_candidate AS candidate
    USING springest.reconciled_delivery AS published
    WHERE candidate.site = :site
      AND published.delivery_key = candidate.delivery_key
      AND ({published}) IS NOT DISTINCT FROM ({candidate})
    RETURNING candidate.delivery_key, candidate.basis
), sealed AS (
    UPDATE springest.reconciled_delivery AS published
    SET seal = hash_record_extended(ROW(int8send(same.basis), pg_current_xact_id()::xid), 0)
    FROM same
    WHERE published.delivery_key = same.delivery_key
)
SELECT count(*) FROM same
