-- Seconds by which requests made so far have used up what comes next, and seconds until a freeze ends.
SELECT COALESCE(extract(epoch FROM max(theoretical_arrival) - clock_timestamp()), 0),
       COALESCE(extract(epoch FROM max(frozen_until) - clock_timestamp()), 0)
FROM springest.rate_limit
WHERE host = :host AND key_fingerprint = :key_fingerprint
