-- Conservation: every source row that a run counted has exactly one verdict.
SELECT staged.run_id, staged.source_count, count(verdict.delivery_key)
FROM springest.staging_run AS staged
LEFT JOIN springest.run_training AS seen ON seen.site = staged.site AND seen.run_id = staged.run_id
LEFT JOIN springest.reconciled_delivery AS verdict ON verdict.delivery_key = seen.delivery_key
WHERE staged.site = :site
GROUP BY staged.run_id, staged.source_count
HAVING staged.source_count <> count(verdict.delivery_key)
LIMIT 1
