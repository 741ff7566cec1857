-- The whole snapshot at once: its rows, as last read, and its evidence. What a newer snapshot saw stays. Most rows are
-- known and have only been seen once more; those are updated in place, without a word to any index.
WITH latest AS MATERIALIZED (
    SELECT DISTINCT ON (springest_certificate_id)
           gathered.*, CAST(:snapshot_id AS bigint) AS snapshot_id, CAST(:started_at AS timestamptz) AS seen_at
    FROM pg_temp.gathered AS gathered
    ORDER BY springest_certificate_id, position DESC
), known AS (
    UPDATE springest.remote_certificate AS remote
    SET certification_id = CASE WHEN remote.last_seen_at < latest.seen_at
                                THEN latest.certification_id ELSE remote.certification_id END,
        valid_from = CASE WHEN remote.last_seen_at < latest.seen_at
                          THEN latest.valid_from ELSE remote.valid_from END,
        valid_until = CASE WHEN remote.last_seen_at < latest.seen_at
                           THEN latest.valid_until ELSE remote.valid_until END,
        springest_status = CASE WHEN remote.last_seen_at < latest.seen_at
                                THEN latest.springest_status ELSE remote.springest_status END,
        created_at = CASE WHEN remote.last_seen_at < latest.seen_at
                          THEN latest.created_at ELSE remote.created_at END,
        last_snapshot_id = CASE WHEN remote.last_seen_at < latest.seen_at
                                THEN latest.snapshot_id ELSE remote.last_snapshot_id END,
        last_seen_at = GREATEST(remote.last_seen_at, latest.seen_at),
        first_snapshot_id = CASE WHEN remote.first_seen_at > latest.seen_at
                                 THEN latest.snapshot_id ELSE remote.first_snapshot_id END,
        first_seen_at = LEAST(remote.first_seen_at, latest.seen_at),
        -- A list without owners does not overwrite owners from a filtered list.
        learner_ref = CASE WHEN latest.learner_ref IS NOT NULL AND remote.last_seen_at < latest.seen_at
                           THEN latest.learner_ref ELSE COALESCE(remote.learner_ref, latest.learner_ref) END,
        owner_told_by = CASE WHEN latest.learner_ref IS NOT NULL
                                  AND (remote.learner_ref IS NULL OR remote.last_seen_at < latest.seen_at)
                             THEN latest.owner_told_by ELSE remote.owner_told_by END
    FROM latest
    WHERE remote.site = :site
      AND remote.springest_certificate_id = latest.springest_certificate_id
      AND (remote.last_seen_at < latest.seen_at
           OR remote.first_seen_at > latest.seen_at
           OR (remote.learner_ref IS NULL AND latest.learner_ref IS NOT NULL))
), new AS (
    INSERT INTO springest.remote_certificate
        (site, springest_certificate_id, certification_id, valid_from, valid_until, springest_status, created_at,
         learner_ref, owner_told_by, first_snapshot_id, first_seen_at, last_snapshot_id, last_seen_at)
    SELECT CAST(:site AS text), springest_certificate_id, certification_id, valid_from, valid_until,
           springest_status, created_at, learner_ref, owner_told_by,
           snapshot_id, seen_at, snapshot_id, seen_at
    FROM latest
    WHERE NOT EXISTS (SELECT FROM springest.remote_certificate AS known
                      WHERE known.site = :site
                        AND known.springest_certificate_id = latest.springest_certificate_id)
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
