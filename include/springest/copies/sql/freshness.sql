-- How fresh a site's rows are: the two times that most of them share.
SELECT max(reconciled_at) AS reconciled_at, mode() WITHIN GROUP (ORDER BY last_seen_at) AS shared_seen_at
FROM springest.certificate_reconciliation
WHERE site = :site
