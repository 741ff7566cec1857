-- Completed trainings, from Amazon Redshift. The contract of the query is in completed_trainings.sql.
--
-- Times are returned as text with their offset. As written, that is correct for columns of the type TIMESTAMPTZ. For a
-- TIMESTAMP column write (column AT TIME ZONE 'Europe/Amsterdam') in place of the column, in the window as well.
SELECT
    completed.training_id,
    completed.issue_no,
    completed.booking_id,
    completed.certification_id,
    learner.email,
    TO_CHAR(completed.completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00:00' AS completed_at,
    completed.valid_from AS valid_from,
    completed.valid_until AS valid_until,
    completed.certificate_uri,
    TO_CHAR(completed.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00:00' AS updated_at
FROM completed_training AS completed
LEFT JOIN learner ON learner.learner_id = completed.learner_id
WHERE (completed.updated_at >= CAST(:window_start AS TIMESTAMPTZ) AND completed.updated_at < CAST(:window_end AS TIMESTAMPTZ))
   OR completed.updated_at < CAST('1900-01-01 00:00:00+00' AS TIMESTAMPTZ)
   OR completed.updated_at >= CAST('9999-12-30 00:00:00+00' AS TIMESTAMPTZ)
   OR completed.updated_at IS NULL
