-- Whose verdicts wait for their checks, and how they add up. They are newer than what is published, also when the clock
-- was set back.
INSERT INTO springest.candidate_set AS noted
    (site, run_id, built_at, snapshot_id, changed, source_rows, verdict_rows, incomplete_run)
VALUES (:site, :run_id,
        GREATEST(clock_timestamp(),
                 (SELECT reconciled_at + interval '1 microsecond' FROM springest.publication WHERE site = :site)),
        CAST(:snapshot_id AS bigint), :changed, :source_rows, :verdict_rows, :incomplete_run)
ON CONFLICT (site) DO UPDATE
SET (run_id, built_at, snapshot_id, changed, source_rows, verdict_rows, incomplete_run, published_at)
  = (excluded.run_id, excluded.built_at, excluded.snapshot_id, excluded.changed, excluded.source_rows,
     excluded.verdict_rows, excluded.incomplete_run, NULL)
