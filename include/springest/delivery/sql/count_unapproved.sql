-- Waiting deliveries of each of these runs, if the run is not approved yet.
SELECT run_id, count(delivery.delivery_id) AS deliveries
FROM unnest(CAST(:run_ids AS text[])) AS run (run_id)
LEFT JOIN springest.delivery AS delivery
       ON delivery.site = :site
      AND delivery.indexed_state = 'ready'
      AND delivery.staged_run_id = run.run_id
      AND NOT EXISTS (SELECT FROM springest.approved_run AS released
                      WHERE released.site = delivery.site AND released.run_id = delivery.staged_run_id)
GROUP BY run_id
