-- The complete snapshots since a certificate was last shown, or since it was sent: they lack it.
SELECT count(*) AS snapshots, min(started_at) AS first_at, max(started_at) AS last_at
FROM springest.snapshot
WHERE site = :site AND complete AND started_at > :since
