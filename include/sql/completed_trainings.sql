-- Completed trainings whose certificates Springest should get. This file is yours to change: it is the one
-- place that knows your database. It is for PostgreSQL; for MySQL and MariaDB, SQLite, SQL Server and Oracle,
-- begin with the file of that name beside it.
--
-- It must be one SELECT without ORDER BY, since it is also counted and searched as a subquery. Its two bound
-- parameters are the window on updated_at, start inclusive and end exclusive, both with a time zone. The window
-- may only filter: a row must look the same, and have the same training_id, in every window and at every look
-- (no now(), no random numbers, no row_number()). Rows whose updated_at lies in no window, such as null, are
-- given each time, so that they are set aside and somebody mends them. Indexes on updated_at and on training_id
-- keep it fast. It gives one row for each certificate, with these columns:
--
--   training_id       what names the completed training, text or a whole number; never reused, no e-mail address
--   issue_no          1, or a higher number to issue a certificate again; the only way to send a second one
--   booking_id        Springest's number of the booking, or null
--   certification_id  Springest's number of the certification
--   email             address that Springest knows the learner by
--   completed_at      when the training was completed, with time zone
--   valid_from        first day of validity, a date (a timestamp is refused, since a time zone could move the day)
--   valid_until       last day of validity, a date, or null
--   certificate_uri   where the document is, under one of the roots in the Variable springest_document_roots
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
