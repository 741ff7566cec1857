-- Runs with waiting deliveries that are not approved yet, and this run. Runs that are being staged right now are left
-- out: they are incomplete, and their own deliver task will approve them. The locks last until the transaction ends, so
-- that no run is staged between this statement and its count; concurrent approvals wait.
WITH approval_lock AS MATERIALIZED (
    SELECT pg_advisory_xact_lock({lock})
), waiting AS MATERIALIZED (
    SELECT DISTINCT staged_run_id AS run_id
    FROM springest.delivery
    WHERE site = :site
      AND indexed_state = 'ready'
      AND NOT EXISTS (SELECT FROM springest.approved_run AS released
                      WHERE released.site = delivery.site AND released.run_id = delivery.staged_run_id)
    UNION
    SELECT CAST(:run_id AS text)
)
SELECT run_id
FROM approval_lock, waiting
WHERE pg_try_advisory_xact_lock({run_lock})
