-- Number the next attempt above all that were ever made, so that no number stands for two POSTs.
SELECT setval(pg_get_serial_sequence('springest.delivery_attempt', 'attempt_id'),
              GREATEST(CAST(:highest AS bigint),
                       (SELECT COALESCE(max(attempt_id), 1) FROM springest.delivery_attempt)))
