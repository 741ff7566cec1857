-- Completed trainings, from Snowflake. The contract of the query is in completed_trainings.sql.
--
-- Times are returned as text with their offset. As written, that is correct for columns of the types TIMESTAMP_TZ and
-- TIMESTAMP_LTZ. For a TIMESTAMP_NTZ column write TO_TIMESTAMP_TZ(CONVERT_TIMEZONE('Europe/Amsterdam', 'UTC', column) || ' +00:00')
-- in place of the column, in the window as well.
SELECT
    completed.training_id,
    completed.issue_no,
    completed.booking_id,
    completed.certification_id,
    learner.email,
    TO_VARCHAR(CONVERT_TIMEZONE('UTC', completed.completed_at), 'YYYY-MM-DD HH24:MI:SS.FF6TZH:TZM') AS completed_at,
    completed.valid_from AS valid_from,
    completed.valid_until AS valid_until,
    completed.certificate_uri,
    TO_VARCHAR(CONVERT_TIMEZONE('UTC', completed.updated_at), 'YYYY-MM-DD HH24:MI:SS.FF6TZH:TZM') AS updated_at
FROM completed_training AS completed
LEFT JOIN learner ON learner.learner_id = completed.learner_id
WHERE (completed.updated_at >= TO_TIMESTAMP_TZ(:window_start) AND completed.updated_at < TO_TIMESTAMP_TZ(:window_end))
   OR completed.updated_at < TO_TIMESTAMP_TZ('1900-01-01 00:00:00 +00:00')
   OR completed.updated_at >= TO_TIMESTAMP_TZ('9999-12-30 00:00:00 +00:00')
   OR completed.updated_at IS NULL
