-- The generic cell rate algorithm for several turns at once: as many as are due, and when the next one is. It
-- never waits for the disk: a power cut may forget the turns of the last second.
WITH relaxed AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
), locked AS MATERIALIZED (
    SELECT theoretical_arrival, frozen_until
    FROM springest.rate_limit, relaxed
    WHERE host = :host AND key_fingerprint = :key_fingerprint
    FOR UPDATE OF rate_limit
), clock AS MATERIALIZED (
    -- Read once, and only when the row is this transaction's.
    SELECT locked.*, clock_timestamp() AS now FROM locked
), due AS MATERIALIZED (
    SELECT now,
           frozen_until,
           GREATEST(theoretical_arrival, now) AS arrival,
           CASE
               WHEN frozen_until > now THEN 0
               ELSE LEAST(:wanted, GREATEST(0, 1 + floor(
                   (:tolerance - extract(epoch FROM GREATEST(theoretical_arrival, now) - now)) / :interval + 1e-9)))
           END AS turns
    FROM clock
), granted AS (
    UPDATE springest.rate_limit
    SET theoretical_arrival = due.arrival + make_interval(secs => due.turns * :interval),
        granted = rate_limit.granted + CAST(due.turns AS bigint)
    FROM due
    WHERE host = :host AND key_fingerprint = :key_fingerprint AND due.turns > 0
)
SELECT CAST(turns AS integer),
       CAST(extract(epoch FROM GREATEST(arrival + make_interval(secs => turns * :interval - :tolerance), frozen_until)
                    - now) AS double precision) AS seconds_to_next
FROM due
