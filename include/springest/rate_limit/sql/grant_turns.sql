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
), bounded AS MATERIALIZED (
    -- Neither is ever set further ahead. A later value means that the clock was set back since; it is reduced.
    SELECT now,
           LEAST(theoretical_arrival, now + make_interval(secs => :tolerance + :interval)) AS theoretical_arrival,
           CASE WHEN frozen_until > now + make_interval(secs => :longest_freeze)
                THEN now + make_interval(secs => :longest_freeze) ELSE frozen_until END AS frozen_until
    FROM clock
), due AS MATERIALIZED (
    SELECT now,
           frozen_until,
           GREATEST(theoretical_arrival, now) AS arrival,
           CASE
               WHEN frozen_until > now THEN 0
               ELSE LEAST(:wanted, GREATEST(0, 1 + floor(
                   (:tolerance - extract(epoch FROM GREATEST(theoretical_arrival, now) - now)) / :interval + 1e-9)))
           END AS turns
    FROM bounded
), granted AS (
    UPDATE springest.rate_limit
    SET theoretical_arrival = due.arrival + make_interval(secs => due.turns * :interval),
        frozen_until = due.frozen_until,
        granted = rate_limit.granted + CAST(due.turns AS bigint)
    FROM due
    WHERE host = :host AND key_fingerprint = :key_fingerprint AND (due.turns > 0 OR rate_limit.frozen_until > due.frozen_until)
)
SELECT CAST(turns AS integer),
       CAST(extract(epoch FROM GREATEST(arrival + make_interval(secs => turns * :interval - :tolerance), frozen_until)
                    - now) AS double precision) AS seconds_to_next
FROM due
