-- Number the next attempt above all earlier ones, so that no number belongs to two POSTs.
SELECT setval(pg_get_serial_sequence('springest.delivery_attempt', 'attempt_id'),
              GREATEST(CAST(:highest AS bigint),
                       (SELECT COALESCE(max(attempt_id), 1) FROM springest.delivery_attempt)))
