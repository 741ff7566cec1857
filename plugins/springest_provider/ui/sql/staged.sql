-- The runs whose window held the source row of one delivery.
SELECT staged.run_id, staged.committed_at, staged.mode
FROM springest.staged_row AS seen
JOIN springest.staging_run AS staged USING (site, run_id)
JOIN springest.delivery USING (delivery_id)
WHERE delivery.delivery_key = :delivery_key
ORDER BY staged.committed_at DESC
LIMIT 50
