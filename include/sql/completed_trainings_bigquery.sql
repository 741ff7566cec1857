-- Completed trainings, from BigQuery. The contract of the query is in completed_trainings.sql.
--
-- As written, that is correct for columns of the type TIMESTAMP. For a DATETIME column write
-- TIMESTAMP(column, 'Europe/Amsterdam') in place of the column, in the window as well. Name the data set in the
-- connection, or before each table. Each look-up scans the table unless it is clustered by training_id.
SELECT
    completed.training_id,
    completed.issue_no,
    completed.booking_id,
    completed.certification_id,
    learner.email,
    FORMAT_TIMESTAMP('%Y-%m-%d %H:%M:%E6S+00:00', completed.completed_at) AS completed_at,
    completed.valid_from AS valid_from,
    completed.valid_until AS valid_until,
    completed.certificate_uri,
    FORMAT_TIMESTAMP('%Y-%m-%d %H:%M:%E6S+00:00', completed.updated_at) AS updated_at
FROM completed_training AS completed
LEFT JOIN learner ON learner.learner_id = completed.learner_id
WHERE (completed.updated_at >= TIMESTAMP(:window_start) AND completed.updated_at < TIMESTAMP(:window_end))
   OR completed.updated_at < TIMESTAMP('1900-01-01 00:00:00+00:00')
   OR completed.updated_at >= TIMESTAMP('9999-12-30 00:00:00+00:00')
   OR completed.updated_at IS NULL
