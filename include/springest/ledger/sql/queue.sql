-- This run's deliveries first, then the oldest; read on behind the last one seen.
SELECT delivery_key, training_id, row_version, version, created_at, staged_run_id = :run_id AS of_this_run
FROM springest.delivery
WHERE site = :site
  AND state = 'ready'
  AND (CAST(:after_created_at AS timestamptz) IS NULL
       OR (staged_run_id <> :run_id, created_at, delivery_key)
          > (CAST(:after_later AS boolean), CAST(:after_created_at AS timestamptz), CAST(:after_key AS text)))
ORDER BY staged_run_id <> :run_id, created_at, delivery_key
LIMIT :limit
