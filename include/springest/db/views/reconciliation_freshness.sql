CREATE OR REPLACE VIEW springest.reconciliation_freshness WITH (security_barrier) AS
SELECT publication.site, publication.published_at AS reconciled_at, used.started_at AS snapshot_at, used.complete AS snapshot_complete,
       complete.started_at AS complete_snapshot_at, stage_watermark.watermark AS staged_until,
       catalogue.scanned_at AS catalogue_at, publication.published_at > now() - interval '26 hours' AS is_fresh
FROM (SELECT DISTINCT ON (site) site, published_at, snapshot_id
      FROM springest.publication
      WHERE published_at IS NOT NULL
      ORDER BY site, published_at DESC) AS publication
LEFT JOIN springest.snapshot AS used USING (snapshot_id)
LEFT JOIN springest.stage_watermark ON stage_watermark.site = publication.site
LEFT JOIN LATERAL (SELECT max(started_at) AS started_at FROM springest.snapshot
                   WHERE snapshot.site = publication.site AND snapshot.complete) AS complete ON true
LEFT JOIN LATERAL (SELECT max(scanned_at) AS scanned_at FROM springest.catalogue_scan
                   WHERE catalogue_scan.site = publication.site AND catalogue_scan.complete) AS catalogue ON true;

COMMENT ON VIEW springest.reconciliation_freshness IS 'Age of the data that analysts read, one row per site';
COMMENT ON COLUMN springest.reconciliation_freshness.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.reconciliation_freshness.reconciled_at IS 'When the verdict was published';
COMMENT ON COLUMN springest.reconciliation_freshness.snapshot_at IS 'Start of the snapshot behind the verdicts';
COMMENT ON COLUMN springest.reconciliation_freshness.snapshot_complete IS
    'Whether that snapshot is complete; a partial one confirms and never denies';
COMMENT ON COLUMN springest.reconciliation_freshness.complete_snapshot_at IS 'Start of the last complete snapshot';
COMMENT ON COLUMN springest.reconciliation_freshness.staged_until IS 'Trainings that changed before this time have been staged';
COMMENT ON COLUMN springest.reconciliation_freshness.catalogue_at IS
    'When the list of certifications was last read to its end';
COMMENT ON COLUMN springest.reconciliation_freshness.is_fresh IS 'Whether the last publication is at most 26 hours old';
