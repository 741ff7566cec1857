-- The sites that have published verdicts, and how fresh these are.
SELECT site, reconciled_at, snapshot_at, snapshot_complete, complete_snapshot_at, staged_until, catalogue_at, is_fresh
FROM springest.reconciliation_freshness
ORDER BY site <> 'default', site
