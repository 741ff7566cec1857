-- Completed trainings whose certificates should be sent to Springest. Change this file to fit your database; it is
-- the only place that depends on your tables. It is for PostgreSQL; for MySQL and MariaDB, SQLite, SQL Server and
-- Oracle, start from the file with that name in this folder.
--
-- It must be one SELECT without ORDER BY, since it is also counted and searched as a subquery. Its two bound
-- parameters are the window on updated_at, start inclusive and end exclusive, both with a time zone. The window
-- may only filter: a row must have the same values, and the same training_id, in every window and each time it is
-- read (no now(), no random numbers, no row_number()). Rows whose updated_at lies in no window, such as null, are
-- returned each time, so that they are set aside and somebody corrects them. Indexes on updated_at and on
-- training_id keep it fast. It returns one row per certificate, with these columns:
--
--   training_id       id of the completed training, text or a whole number; never reused, no e-mail address
--   issue_no          1, or a higher number to issue a certificate again; the only way to send a second one
--   booking_id        Springest's id of the booking, or null
--   certification_id  Springest's id of the certification
--   email             e-mail address of the learner at Springest
--   completed_at      when the training was completed, with time zone
--   valid_from        first day of validity, a date (a timestamp is refused, since a time zone could move the day)
--   valid_until       last day of validity, a date, or null
--   certificate_uri   whole path or address of the document, under one of the document roots: /data/certificates/T1.pdf,
--                     s3://bucket/prefix/T1.pdf
--   updated_at        when any of the above last changed, with time zone
SELECT
    completed.training_id,
    completed.issue_no,
    completed.booking_id,
    completed.certification_id,
    learner.email,
    completed.completed_at,
    completed.valid_from,
    completed.valid_until,
    completed.certificate_uri,
    completed.updated_at
FROM completed_training AS completed
LEFT JOIN learner ON learner.learner_id = completed.learner_id
WHERE (completed.updated_at >= :window_start AND completed.updated_at < :window_end)
   OR completed.updated_at < '1900-01-01 00:00:00+00:00'
   OR completed.updated_at >= '9999-12-30 00:00:00+00:00'
   OR completed.updated_at IS NULL
