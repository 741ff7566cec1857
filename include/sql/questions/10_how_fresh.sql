-- How fresh is what I am looking at?
SELECT site, reconciled_at, now() - reconciled_at AS age, is_fresh, snapshot_at, snapshot_complete,
       complete_snapshot_at, staged_until, catalogue_at
FROM springest.reconciliation_freshness
ORDER BY site
