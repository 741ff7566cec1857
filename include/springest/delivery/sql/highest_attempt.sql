-- The highest attempt that this ledger has, or is recorded to have lost.
SELECT GREATEST((SELECT max(attempt_id) FROM springest.delivery_attempt),
                (SELECT max(highest_attempt_id) FROM springest.ledger_restoration),
                0)
