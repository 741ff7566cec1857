-- Completed trainings, from Databricks. The contract of the query is in completed_trainings.sql.
--
-- Times are returned as text with the offset of the session's time zone. As written, that is correct for columns of the
-- type TIMESTAMP. For a TIMESTAMP_NTZ column write TO_UTC_TIMESTAMP(column, 'Europe/Amsterdam') in place of the column, in a
-- session in UTC, in the window as well.
SELECT
    completed.training_id,
    completed.issue_no,
    completed.booking_id,
    completed.certification_id,
    learner.email,
    DATE_FORMAT(completed.completed_at, 'yyyy-MM-dd HH:mm:ss.SSSSSSxxx') AS completed_at,
    completed.valid_from AS valid_from,
    completed.valid_until AS valid_until,
    completed.certificate_uri,
    DATE_FORMAT(completed.updated_at, 'yyyy-MM-dd HH:mm:ss.SSSSSSxxx') AS updated_at
FROM completed_training AS completed
LEFT JOIN learner ON learner.learner_id = completed.learner_id
WHERE (completed.updated_at >= CAST(:window_start AS TIMESTAMP) AND completed.updated_at < CAST(:window_end AS TIMESTAMP))
   OR completed.updated_at < CAST('1900-01-01 00:00:00+00:00' AS TIMESTAMP)
   OR completed.updated_at >= CAST('9999-12-30 00:00:00+00:00' AS TIMESTAMP)
   OR completed.updated_at IS NULL
