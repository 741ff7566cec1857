-- Runs of which something waits that no delivering run has accepted as a night's work yet, and the one that asks; but
-- for those that are being staged right now: they are not whole, and their own delivering run will ask. The locks last
-- until the transaction ends, so that nobody stages these runs before they are counted. Other callers wait.
WITH alone AS MATERIALIZED (
    SELECT pg_advisory_xact_lock({lock})
), waiting AS MATERIALIZED (
    SELECT DISTINCT staged_run_id AS run_id
    FROM springest.delivery
    WHERE site = :site
      AND indexed_state = 'ready'
      AND NOT EXISTS (SELECT FROM springest.released_run AS released
                      WHERE released.site = delivery.site AND released.run_id = delivery.staged_run_id)
    UNION
    SELECT CAST(:run_id AS text)
)
SELECT run_id
FROM alone, waiting
WHERE pg_try_advisory_xact_lock({run_lock})
