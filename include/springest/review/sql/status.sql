-- One row: the status of a site.
SELECT clock_timestamp() AS now,
       queue.ready,
       queue.oldest AS oldest_ready,
       limits.frozen_until,
       limits.granted,
       watermark.watermark,
       publication.reconciled_at,
       scan.scanned_at,
       scan.listed,
       scan.complete AS catalogue_complete,
       last_snapshot.snapshot_id,
       last_snapshot.finished_at AS snapshot_finished_at,
       last_snapshot.complete AS snapshot_complete,
       last_snapshot.distinct_ids AS snapshot_certificates,
       complete.finished_at AS complete_snapshot_finished_at,
       restoration.restored_at
FROM (SELECT count(*) AS ready, min(created_at) AS oldest
      FROM springest.delivery
      WHERE site = :site AND indexed_state = 'ready') AS queue
LEFT JOIN (SELECT * FROM springest.rate_limit
           WHERE host = :host AND key_fingerprint = :key_fingerprint) AS limits ON true
LEFT JOIN (SELECT * FROM springest.stage_watermark WHERE site = :site) AS watermark ON true
LEFT JOIN (SELECT max(published_at) AS reconciled_at FROM springest.publication
           WHERE site = :site) AS publication ON true
LEFT JOIN (SELECT * FROM springest.catalogue_scan WHERE site = :site
           ORDER BY scanned_at DESC LIMIT 1) AS scan ON true
LEFT JOIN (SELECT * FROM springest.snapshot WHERE site = :site AND finished_at IS NOT NULL
                 AND scope = 'full' -- owner look-ups and filtered lists are never complete
           ORDER BY finished_at DESC LIMIT 1) AS last_snapshot ON true
LEFT JOIN (SELECT * FROM springest.snapshot WHERE site = :site AND complete
           ORDER BY finished_at DESC LIMIT 1) AS complete ON true
LEFT JOIN (SELECT max(restored_at) AS restored_at FROM springest.ledger_restoration
           WHERE NOT follows_trial) AS restoration ON true
