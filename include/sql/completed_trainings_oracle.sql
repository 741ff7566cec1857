-- Completed trainings, from Oracle. The contract of the query is in completed_trainings.sql.
--
-- Times are returned as text with their offset, and dates as text, since a DATE here is a timestamp. As written,
-- that is correct for columns of the type TIMESTAMP WITH TIME ZONE. For a DATE or TIMESTAMP column write
-- FROM_TZ(CAST(column AS TIMESTAMP), 'Europe/Amsterdam') in place of the column. The window's bounds are in UTC.
SELECT
    completed.training_id,
    completed.issue_no,
    completed.booking_id,
    completed.certification_id,
    learner.email,
    TO_CHAR(completed.completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.FF6TZH:TZM') AS completed_at,
    TO_CHAR(completed.valid_from, 'YYYY-MM-DD') AS valid_from,
    TO_CHAR(completed.valid_until, 'YYYY-MM-DD') AS valid_until,
    completed.certificate_uri,
    TO_CHAR(completed.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.FF6TZH:TZM') AS updated_at
FROM completed_training completed
LEFT JOIN learner ON learner.learner_id = completed.learner_id
WHERE (
        completed.updated_at >= FROM_TZ(CAST(:window_start AS TIMESTAMP), 'UTC')
    AND completed.updated_at < FROM_TZ(CAST(:window_end AS TIMESTAMP), 'UTC')
   )
   OR completed.updated_at < TIMESTAMP '1900-01-01 00:00:00 +00:00'
   OR completed.updated_at >= TIMESTAMP '9999-12-30 00:00:00 +00:00'
   OR completed.updated_at IS NULL
