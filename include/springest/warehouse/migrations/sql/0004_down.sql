-- Matches without proof moved no state, so nothing of the ledger has to be put back. What a filtered GET told of
-- an owner stays as proof of the deliveries it proved.
DROP VIEW springest.unmatched_remote_certificate;
DROP TABLE springest.list_filter;
DROP TABLE springest.owner_question;
DROP TABLE springest.delivery_match;
ALTER TABLE springest.remote_certificate DROP COLUMN owner_told_by;
ALTER TABLE springest.snapshot DROP COLUMN scope_detail, DROP COLUMN scope;
ALTER TABLE springest.delivery_attempt
    DROP COLUMN valid_until, DROP COLUMN valid_from, DROP COLUMN certification_id;
-- Verdicts that the older code could not have given.
UPDATE springest.reconciled_delivery SET match_method = NULL WHERE match_method IN ('inferred', 'set_complete');
