-- The highest attempt that this ledger knows of: its own, or those that it knows to have forgotten.
SELECT GREATEST((SELECT max(attempt_id) FROM springest.delivery_attempt),
                (SELECT max(highest_attempt_id) FROM springest.ledger_restoration),
                0)
