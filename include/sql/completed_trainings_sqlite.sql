-- Completed trainings, from SQLite. The contract of the query is in completed_trainings.sql.
--
-- There is no type for times: ISO 8601 text is read as UTC unless it has an offset, and returned in UTC. Values that
-- SQLite cannot read are returned unchanged, and set aside. Fractions of a second count to the millisecond, and not in the
-- window. An index that the window can use: CREATE INDEX changed ON completed_training (datetime(updated_at)).
SELECT
    completed.training_id,
    completed.issue_no,
    completed.booking_id,
    completed.certification_id,
    learner.email,
    COALESCE(strftime('%Y-%m-%d %H:%M:%f+00:00', completed.completed_at), completed.completed_at) AS completed_at,
    completed.valid_from AS valid_from,
    completed.valid_until AS valid_until,
    completed.certificate_uri,
    COALESCE(strftime('%Y-%m-%d %H:%M:%f+00:00', completed.updated_at), completed.updated_at) AS updated_at
FROM completed_training AS completed
LEFT JOIN learner ON learner.learner_id = completed.learner_id
WHERE (
        datetime(completed.updated_at) >= datetime(:window_start)
    AND datetime(completed.updated_at) < datetime(:window_end)
   )
   OR datetime(completed.updated_at) < '1900-01-01 00:00:00'
   OR datetime(completed.updated_at) >= '9999-12-30 00:00:00'
   OR datetime(completed.updated_at) IS NULL
