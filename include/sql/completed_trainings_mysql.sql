-- Completed trainings, from MySQL or MariaDB. The contract of the query is in completed_trainings.sql.
--
-- No type here has a time zone, so times are returned as text with their offset. As written, that is correct for
-- TIMESTAMP columns, since the session is in UTC, and for DATETIME columns that hold UTC. For others use
-- CONVERT_TZ(column, 'Europe/Amsterdam', '+00:00') in place of the column, in the window as well. The window's
-- bounds are in UTC. A DATETIME as valid_from or valid_until must be DATE(column).
SELECT
    completed.training_id,
    completed.issue_no,
    completed.booking_id,
    completed.certification_id,
    learner.email,
    DATE_FORMAT(completed.completed_at, '%Y-%m-%d %H:%i:%s.%f+00:00') AS completed_at,
    completed.valid_from AS valid_from,
    completed.valid_until AS valid_until,
    completed.certificate_uri,
    DATE_FORMAT(completed.updated_at, '%Y-%m-%d %H:%i:%s.%f+00:00') AS updated_at
FROM completed_training AS completed
LEFT JOIN learner ON learner.learner_id = completed.learner_id
WHERE (completed.updated_at >= :window_start AND completed.updated_at < :window_end)
   OR completed.updated_at < '1900-01-01'
   OR completed.updated_at >= '9999-12-30'
   OR completed.updated_at IS NULL
