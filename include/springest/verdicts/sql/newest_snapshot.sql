-- Looking up single learners' certificates makes nothing else fresher.
SELECT max(snapshot_id)
FROM springest.snapshot
WHERE site = :site AND finished_at IS NOT NULL AND scope <> 'owners'
