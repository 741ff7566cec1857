-- The whole snapshot at once: its rows, as last read, and its evidence. What a newer snapshot saw stays.
WITH latest AS (
    SELECT DISTINCT ON (springest_certificate_id) *
    FROM pg_temp.gathered
    ORDER BY springest_certificate_id, position DESC
), merged AS (
    INSERT INTO springest.remote_certificate AS remote
        (site, springest_certificate_id, certification_id, valid_from, valid_until, springest_status, created_at,
         learner_ref, first_snapshot_id, first_seen_at, last_snapshot_id, last_seen_at)
    SELECT CAST(:site AS text), springest_certificate_id, certification_id, valid_from, valid_until,
           springest_status, created_at, learner_ref,
           CAST(:snapshot_id AS bigint), CAST(:started_at AS timestamptz),
           CAST(:snapshot_id AS bigint), CAST(:started_at AS timestamptz)
    FROM latest
    ON CONFLICT (site, springest_certificate_id) DO UPDATE
    SET certification_id = excluded.certification_id,
        valid_from = excluded.valid_from,
        valid_until = excluded.valid_until,
        springest_status = excluded.springest_status,
        created_at = excluded.created_at,
        learner_ref = excluded.learner_ref,
        last_snapshot_id = excluded.last_snapshot_id,
        last_seen_at = excluded.last_seen_at
    WHERE remote.last_seen_at < excluded.last_seen_at
), finished AS (
    UPDATE springest.snapshot
    SET finished_at = clock_timestamp(),
        complete = :complete,
        first_total = :first_total,
        last_total = :last_total,
        distinct_ids = :distinct_ids,
        rewinds = :rewinds,
        requests = :requests
    WHERE snapshot_id = :snapshot_id
)
SELECT count(*) FROM latest
