-- The earlier of the last two complete snapshots that are far enough apart: what was not shown since is gone.
SELECT max(earlier.started_at)
FROM springest.snapshot AS earlier
WHERE earlier.site = :site
  AND earlier.complete
  AND earlier.started_at <= (SELECT max(newest.started_at) FROM springest.snapshot AS newest
                             WHERE newest.site = :site AND newest.complete)
                            - make_interval(hours => :apart_hours)
