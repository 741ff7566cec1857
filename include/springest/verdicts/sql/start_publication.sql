-- A site has at most one pending publication: a newer run takes it over.
INSERT INTO springest.publication AS pending (site, run_id, computed_at, snapshot_id)
VALUES (:site, :run_id, clock_timestamp(), CAST(:snapshot_id AS bigint))
ON CONFLICT (site) WHERE published_at IS NULL DO UPDATE
SET (run_id, computed_at, snapshot_id) = (excluded.run_id, excluded.computed_at, excluded.snapshot_id)
RETURNING publication_id
