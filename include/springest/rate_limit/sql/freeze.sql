-- Freeze the rate limit. Without `Retry-After`, each further freeze lasts twice as long as the last one, unless one is
-- in force already: several workers may receive the same refusal.
UPDATE springest.rate_limit
SET freeze_seconds = CASE WHEN CAST(:retry_after AS double precision) IS NULL
                          THEN LEAST(GREATEST(freeze_seconds * 2, :first_freeze), :max_freeze)
                          ELSE freeze_seconds END,
    frozen_until = GREATEST(frozen_until, clock_timestamp() + make_interval(secs =>
        COALESCE(CAST(:retry_after AS double precision),
                 LEAST(GREATEST(freeze_seconds * 2, :first_freeze), :max_freeze))))
WHERE host = :host
  AND key_fingerprint = :key_fingerprint
  AND (CAST(:retry_after AS double precision) IS NOT NULL
       OR frozen_until IS NULL
       OR frozen_until <= clock_timestamp())
