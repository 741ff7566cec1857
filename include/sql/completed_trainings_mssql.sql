-- Completed trainings, from SQL Server. The contract of the query is in completed_trainings.sql.
--
-- It may not begin with WITH. Times and dates are returned as text, which every driver reads alike. As written,
-- that is correct for datetime2 columns that hold UTC. For local time, write
-- column AT TIME ZONE 'W. Europe Standard Time' in place of TODATETIMEOFFSET(column, '+00:00'), and the same with
-- AT TIME ZONE 'UTC' after it in the window, whose bounds are in UTC. A datetimeoffset column stands alone; in
-- the window, it is compared with TODATETIMEOFFSET(CAST(... AS datetime2), '+00:00').
SELECT
    completed.training_id,
    completed.issue_no,
    completed.booking_id,
    completed.certification_id,
    learner.email,
    CONVERT(nvarchar(40), TODATETIMEOFFSET(completed.completed_at, '+00:00'), 126) AS completed_at,
    CONVERT(nvarchar(10), completed.valid_from, 23) AS valid_from,
    CONVERT(nvarchar(10), completed.valid_until, 23) AS valid_until,
    completed.certificate_uri,
    CONVERT(nvarchar(40), TODATETIMEOFFSET(completed.updated_at, '+00:00'), 126) AS updated_at
FROM completed_training AS completed
LEFT JOIN learner ON learner.learner_id = completed.learner_id
WHERE (
        completed.updated_at >= CAST(:window_start AS datetime2)
    AND completed.updated_at < CAST(:window_end AS datetime2)
   )
   OR completed.updated_at < '1900-01-01'
   OR completed.updated_at >= '9999-12-30'
   OR completed.updated_at IS NULL
