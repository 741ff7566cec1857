-- What waits and was not yet accepted as a night's work by any delivering run.
SELECT count(*)
FROM springest.delivery
LEFT JOIN springest.staging_run AS staged
       ON staged.site = delivery.site AND staged.run_id = delivery.staged_run_id
WHERE delivery.site = :site AND delivery.indexed_state = 'ready' AND staged.released_at IS NULL
