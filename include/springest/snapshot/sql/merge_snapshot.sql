-- Store the whole snapshot at once: its certificates as last read, and its evidence. Snapshots may be stored in any order: an
-- older one never overwrites what a newer one showed. A complete snapshot that shows a certificate unchanged writes
-- nothing for it, and marks the certificates that it lacks.
WITH complete AS MATERIALIZED (
    SELECT max(started_at) AS newest_at,
           max(started_at) FILTER (WHERE started_at < :started_at) AS previous_at,
           min(started_at) FILTER (WHERE started_at > :started_at) AS next_at
    FROM springest.snapshot
    WHERE site = :site AND complete AND snapshot_id <> :snapshot_id
), latest AS MATERIALIZED (
    SELECT DISTINCT ON (springest_certificate_id) *
    FROM pg_temp.gathered
    ORDER BY springest_certificate_id, position DESC
), compared AS MATERIALIZED (
    SELECT latest.*, is_newest, remote.lacked_at < :started_at AS was_lacked
    FROM latest
    JOIN springest.remote_certificate AS remote
      ON remote.site = :site AND remote.springest_certificate_id = latest.springest_certificate_id
    CROSS JOIN complete
    -- Whether every stored snapshot that showed it is older.
    CROSS JOIN LATERAL (SELECT remote.recorded_at < :started_at
                               AND (remote.lacked_at IS NOT NULL OR COALESCE(complete.newest_at < :started_at, true))
                               AS is_newest) AS order_of_snapshots
    WHERE (is_newest
           AND ((remote.certification_id, remote.valid_from, remote.valid_until, remote.springest_status,
                 remote.created_at)
                IS DISTINCT FROM
                (latest.certification_id, latest.valid_from, latest.valid_until, latest.springest_status,
                 latest.created_at)
                OR (remote.learner_ref, remote.owner_told_by) <> (latest.learner_ref, latest.owner_told_by)))
       OR (remote.recorded_at < :started_at AND (NOT CAST(:complete AS boolean) OR remote.lacked_at IS NOT NULL))
       OR remote.first_seen_at > :started_at
       OR (remote.learner_ref IS NULL AND latest.learner_ref IS NOT NULL)
), known AS (
    UPDATE springest.remote_certificate AS remote
    SET certification_id = CASE WHEN is_newest THEN compared.certification_id ELSE remote.certification_id END,
        valid_from = CASE WHEN is_newest THEN compared.valid_from ELSE remote.valid_from END,
        valid_until = CASE WHEN is_newest THEN compared.valid_until ELSE remote.valid_until END,
        springest_status = CASE WHEN is_newest THEN compared.springest_status ELSE remote.springest_status END,
        created_at = CASE WHEN is_newest THEN compared.created_at ELSE remote.created_at END,
        recorded_at = GREATEST(remote.recorded_at, :started_at),
        lacked_at = CASE WHEN was_lacked THEN complete.next_at ELSE remote.lacked_at END,
        first_snapshot_id = CASE WHEN remote.first_seen_at > :started_at
                                 THEN :snapshot_id ELSE remote.first_snapshot_id END,
        first_seen_at = LEAST(remote.first_seen_at, :started_at),
        -- A list without owners does not overwrite owners from a filtered list.
        learner_ref = CASE WHEN is_newest AND compared.learner_ref IS NOT NULL
                           THEN compared.learner_ref ELSE COALESCE(remote.learner_ref, compared.learner_ref) END,
        owner_told_by = CASE WHEN compared.learner_ref IS NOT NULL AND (is_newest OR remote.learner_ref IS NULL)
                             THEN compared.owner_told_by ELSE remote.owner_told_by END
    FROM compared
    CROSS JOIN complete
    WHERE remote.site = :site AND remote.springest_certificate_id = compared.springest_certificate_id
), lacked AS (
    UPDATE springest.remote_certificate AS remote
    SET lacked_at = :started_at,
        recorded_at = GREATEST(remote.recorded_at, complete.previous_at)
    FROM complete
    WHERE CAST(:complete AS boolean)
      AND remote.site = :site
      AND remote.recorded_at < :started_at
      AND CASE WHEN remote.lacked_at IS NULL THEN COALESCE(complete.newest_at < :started_at, true)
               ELSE remote.lacked_at > :started_at END
      AND NOT EXISTS (SELECT FROM latest
                      WHERE latest.springest_certificate_id = remote.springest_certificate_id)
), new AS (
    INSERT INTO springest.remote_certificate
        (site, springest_certificate_id, certification_id, valid_from, valid_until, springest_status, created_at,
         learner_ref, owner_told_by, first_snapshot_id, first_seen_at, recorded_at, lacked_at)
    SELECT CAST(:site AS text), springest_certificate_id, certification_id, valid_from, valid_until,
           springest_status, created_at, learner_ref, owner_told_by, CAST(:snapshot_id AS bigint),
           CAST(:started_at AS timestamptz), CAST(:started_at AS timestamptz), complete.next_at
    FROM latest
    CROSS JOIN complete
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
