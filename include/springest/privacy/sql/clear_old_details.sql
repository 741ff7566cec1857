-- The details of attempts that ended long ago, unless somebody may still need them to find out what happened.
UPDATE springest.delivery_attempt AS attempt
SET worker = '', message = NULL
WHERE attempt.attempt_id IN (
    SELECT old.attempt_id
    FROM springest.delivery_attempt AS old
    JOIN springest.delivery USING (delivery_id)
    WHERE delivery.site = :site
      AND old.finished_at < clock_timestamp() - make_interval(days => :days)
      AND (old.worker <> '' OR old.message IS NOT NULL)
      AND delivery.state NOT IN ('sending', 'unknown', 'review')
      AND NOT delivery.needs_review
    ORDER BY old.attempt_id
    LIMIT :at_most)
