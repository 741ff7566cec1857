-- What each verdict was made from, so that only what changed is judged again. Empty at first: the next night judges all.
ALTER TABLE springest.reconciled_delivery ADD COLUMN seal BIGINT;
ALTER TABLE springest.reconciled_candidate ADD COLUMN basis BIGINT;
COMMENT ON COLUMN springest.reconciled_delivery.seal IS
    'Number made of what it was made from and of this row: while it fits, neither changed';
COMMENT ON COLUMN springest.reconciled_candidate.basis IS 'Number made of everything that the verdict was made from';
