-- Whether certificates wait of a run that a person approved, although no run has staged since.
SELECT EXISTS (
    SELECT FROM springest.approved_run AS approved
    WHERE approved.site = :site
      AND approved.approved_by IS NOT NULL
      AND EXISTS (SELECT FROM springest.delivery
                  WHERE delivery.site = :site
                    AND delivery.indexed_state = 'ready'
                    AND delivery.staged_run_id = approved.run_id)
      AND NOT EXISTS (SELECT FROM springest.staging_run AS staged
                      WHERE staged.site = :site AND staged.committed_at > approved.approved_at)
)
