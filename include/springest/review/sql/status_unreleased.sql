-- Queued deliveries of runs that are not approved yet.
SELECT staged_run_id, count(*)
FROM springest.delivery
WHERE site = :site
  AND indexed_state = 'ready'
  AND NOT EXISTS (SELECT FROM springest.approved_run AS released
                  WHERE released.site = delivery.site AND released.run_id = delivery.staged_run_id)
GROUP BY staged_run_id
ORDER BY staged_run_id
