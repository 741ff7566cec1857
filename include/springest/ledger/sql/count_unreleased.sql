-- What waits of these runs and was not yet accepted as a night's work.
SELECT count(*)
FROM springest.delivery
WHERE site = :site
  AND indexed_state = 'ready'
  AND staged_run_id = ANY(:run_ids)
  AND NOT EXISTS (SELECT FROM springest.released_run AS released
                  WHERE released.site = delivery.site AND released.run_id = delivery.staged_run_id)
