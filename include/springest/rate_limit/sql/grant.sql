-- The generic cell rate algorithm (GCRA) for several grants at once: as many as are due, and the time until the next.
-- The commit does not wait for the disk: a power cut may lose the grants of the last second.
WITH relaxed AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
), locked AS MATERIALIZED (
    SELECT theoretical_arrival, frozen_until
    FROM springest.rate_limit, relaxed
    WHERE host = :host AND key_fingerprint = :key_fingerprint
    FOR UPDATE OF rate_limit
), clock AS MATERIALIZED (
    -- Read once, and only after the row is locked.
    SELECT locked.*, clock_timestamp() AS now FROM locked
), bounded AS MATERIALIZED (
    -- Neither is ever set further ahead than this. A later value comes from a clock that was set back since.
    SELECT now,
           LEAST(theoretical_arrival, now + make_interval(secs => :tolerance + :interval)) AS theoretical_arrival,
           CASE WHEN frozen_until > now + make_interval(secs => :max_freeze)
                THEN now + make_interval(secs => :max_freeze) ELSE frozen_until END AS frozen_until
    FROM clock
), due AS MATERIALIZED (
    SELECT now,
           frozen_until,
           GREATEST(theoretical_arrival, now) AS arrival,
           CASE
               WHEN frozen_until > now THEN 0
               ELSE LEAST(:wanted, GREATEST(0, 1 + floor(
                   (:tolerance - extract(epoch FROM GREATEST(theoretical_arrival, now) - now)) / :interval + 1e-9)))
           END AS granted
    FROM bounded
), updated AS (
    UPDATE springest.rate_limit
    SET theoretical_arrival = due.arrival + make_interval(secs => due.granted * :interval),
        frozen_until = due.frozen_until,
        granted = rate_limit.granted + CAST(due.granted AS bigint)
    FROM due
    WHERE host = :host
      AND key_fingerprint = :key_fingerprint
      AND (due.granted > 0 OR rate_limit.frozen_until > due.frozen_until)
)
SELECT CAST(granted AS integer) AS granted,
       CAST(extract(epoch FROM GREATEST(arrival + make_interval(secs => granted * :interval - :tolerance),
                                        frozen_until) - now) AS double precision) AS seconds_to_next
FROM due
