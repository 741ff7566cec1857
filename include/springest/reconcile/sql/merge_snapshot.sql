-- The whole snapshot at once: its rows, as last read, and its evidence. What a newer snapshot saw stays.
WITH latest AS (
    SELECT DISTINCT ON (springest_certificate_id) *
    FROM pg_temp.gathered
    ORDER BY springest_certificate_id, position DESC
), merged AS (
    INSERT INTO springest.remote_certificate AS remote
        (site, springest_certificate_id, certification_id, valid_from, valid_until, springest_status, created_at,
         learner_ref, owner_told_by, first_snapshot_id, first_seen_at, last_snapshot_id, last_seen_at)
    SELECT CAST(:site AS text), springest_certificate_id, certification_id, valid_from, valid_until,
           springest_status, created_at, learner_ref, owner_told_by,
           CAST(:snapshot_id AS bigint), CAST(:started_at AS timestamptz),
           CAST(:snapshot_id AS bigint), CAST(:started_at AS timestamptz)
    FROM latest
    ON CONFLICT (site, springest_certificate_id) DO UPDATE
    SET (certification_id, valid_from, valid_until, springest_status, created_at, last_snapshot_id, last_seen_at)
        = (SELECT newer.certification_id, newer.valid_from, newer.valid_until, newer.springest_status,
                  newer.created_at, newer.last_snapshot_id, newer.last_seen_at
           FROM (VALUES (excluded.certification_id, excluded.valid_from, excluded.valid_until,
                         excluded.springest_status, excluded.created_at, excluded.last_snapshot_id,
                         excluded.last_seen_at),
                        (remote.certification_id, remote.valid_from, remote.valid_until, remote.springest_status,
                         remote.created_at, remote.last_snapshot_id, remote.last_seen_at))
                AS newer (certification_id, valid_from, valid_until, springest_status, created_at,
                          last_snapshot_id, last_seen_at)
           ORDER BY newer.last_seen_at DESC, newer.last_snapshot_id DESC
           LIMIT 1),
        first_snapshot_id = CASE WHEN excluded.first_seen_at < remote.first_seen_at
                                 THEN excluded.first_snapshot_id ELSE remote.first_snapshot_id END,
        first_seen_at = LEAST(excluded.first_seen_at, remote.first_seen_at),
        -- A list that does not tell owners takes nothing back of what a filtered one has told.
        (learner_ref, owner_told_by)
        = (SELECT CASE WHEN takes THEN excluded.learner_ref ELSE remote.learner_ref END,
                  CASE WHEN takes THEN excluded.owner_told_by ELSE remote.owner_told_by END
           FROM (SELECT remote.learner_ref IS NULL
                        OR (excluded.learner_ref IS NOT NULL AND excluded.last_seen_at > remote.last_seen_at))
                AS told (takes))
    WHERE remote.last_seen_at < excluded.last_seen_at
       OR remote.first_seen_at > excluded.first_seen_at
       OR (remote.learner_ref IS NULL AND excluded.learner_ref IS NOT NULL)
), finished AS (
    UPDATE springest.snapshot
    SET finished_at = clock_timestamp(),
        complete = :complete,
        first_total = :first_total,
        last_total = :last_total,
        distinct_ids = :distinct_ids,
        rewinds = :rewinds,
        requests = :requests,
        scope = :scope,
        scope_detail = :scope_detail
    WHERE snapshot_id = :snapshot_id
)
SELECT count(*) FROM latest
