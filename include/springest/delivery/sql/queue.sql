-- This run's deliveries first, then the oldest; read on behind the last one seen. Two parts, each in the order of an
-- index, so that a page of a long queue costs what a page of a short one does. What no delivering run has accepted as
-- a night's work is not in it: it may be a mistake of the source's, and a person looks first. (A scalar subquery is
-- asked row by row, so that a page reads no more rows than it gives.) While a site has not begun, a run sends only the
-- rows of its own window: a pilot sends what it was asked for, and a scheduled run nothing. A run may be restricted to some
-- certifications.
(
    SELECT delivery_key, training_id, row_version, version, created_at, true AS of_this_run, document_checked
    FROM springest.delivery
    WHERE site = :site
      AND indexed_state = 'ready'
      AND staged_run_id = :run_id
      AND NOT CAST(:after_later AS boolean)
      AND (created_at, delivery_key)
          > (COALESCE(CAST(:after_created_at AS timestamptz), '-infinity'), CAST(:after_key AS text))
      AND (CAST(:certification_ids AS bigint[]) IS NULL OR certification_id = ANY(CAST(:certification_ids AS bigint[])))
      AND (SELECT true FROM springest.approved_run AS released
           WHERE released.site = :site AND released.run_id = delivery.staged_run_id)
      AND ((SELECT true FROM springest.stage_watermark WHERE site = :site)
           OR (SELECT true FROM springest.staged_row AS seen
               WHERE seen.delivery_id = delivery.delivery_id
                 AND seen.site = :site
                 AND seen.run_id = :run_id
               LIMIT 1))
    ORDER BY created_at, delivery_key
    LIMIT :limit
)
UNION ALL
(
    SELECT delivery_key, training_id, row_version, version, created_at, false, document_checked
    FROM springest.delivery
    WHERE site = :site
      AND indexed_state = 'ready'
      AND staged_run_id <> :run_id
      AND (created_at, delivery_key)
          > (CASE WHEN CAST(:after_later AS boolean) THEN CAST(:after_created_at AS timestamptz) ELSE '-infinity' END,
             CASE WHEN CAST(:after_later AS boolean) THEN CAST(:after_key AS text) ELSE '' END)
      AND (CAST(:certification_ids AS bigint[]) IS NULL OR certification_id = ANY(CAST(:certification_ids AS bigint[])))
      AND (SELECT true FROM springest.approved_run AS released
           WHERE released.site = :site AND released.run_id = delivery.staged_run_id)
      AND ((SELECT true FROM springest.stage_watermark WHERE site = :site)
           OR (SELECT true FROM springest.staged_row AS seen
               WHERE seen.delivery_id = delivery.delivery_id
                 AND seen.site = :site
                 AND seen.run_id = :run_id
               LIMIT 1))
    ORDER BY created_at, delivery_key
    LIMIT :limit
)
ORDER BY of_this_run DESC, created_at, delivery_key
LIMIT :limit
