-- Staged runs of which more certificates wait than a run may have without a person, and that nobody has approved.
SELECT delivery.staged_run_id AS run_id,
       count(*) AS certificates,
       {digest} AS digest,
       count(DISTINCT delivery.certification_id) AS certifications,
       min(delivery.updated_at) AS staged_at,
       min(staged.window_start) AS window_start,
       min(staged.window_end) AS window_end
FROM springest.delivery AS delivery
LEFT JOIN springest.staging_run AS staged
       ON staged.site = delivery.site AND staged.run_id = delivery.staged_run_id
WHERE delivery.site = :site
  AND delivery.indexed_state = 'ready'
  AND NOT EXISTS (SELECT FROM springest.approved_run AS released
                  WHERE released.site = delivery.site AND released.run_id = delivery.staged_run_id)
GROUP BY delivery.staged_run_id
HAVING count(*) > :usual
ORDER BY staged_at, run_id
