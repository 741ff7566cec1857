-- Completed trainings, from CSV or Parquet files. The contract of the query is in completed_trainings.sql.
--
-- The files are loaded into the table completed_training of an SQLite database. It has the columns of the contract, already
-- checked, any other columns of the files as text, and changed_at: updated_at in UTC, or null if that can't be read. Add
-- conditions on other columns with parameters that the site's filter names, such as AND completed.country = :country
-- around the whole window.
SELECT
    completed.training_id,
    completed.issue_no,
    completed.booking_id,
    completed.certification_id,
    completed.email,
    completed.completed_at,
    completed.valid_from,
    completed.valid_until,
    completed.certificate_uri,
    completed.updated_at
FROM completed_training AS completed
WHERE (completed.changed_at >= datetime(:window_start) AND completed.changed_at < datetime(:window_end))
   OR completed.changed_at IS NULL
