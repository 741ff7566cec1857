ALTER TABLE springest.reconciled_candidate DROP COLUMN basis;
ALTER TABLE springest.reconciled_delivery DROP COLUMN seal;
