-- Every version of a site's verdicts as analysts see it, the current ones with their explanation.
-- reconciled_at is left out, and last_seen_at where it is the one that most certificates share: both move every night, and
-- would rewrite the whole copy. The copy has them once per site.
SELECT md5(version.delivery_key || ' ' || CAST(extract(epoch FROM version.valid_from_ts) AS text)) AS row_id,
       version.*, {explanatory},
       NULLIF(explained.last_seen_at, CAST(:shared_seen_at AS timestamptz)) AS last_seen_at,
       COALESCE(explained.last_seen_at = CAST(:shared_seen_at AS timestamptz), false) AS shares_last_seen
FROM springest.certificate_reconciliation_history AS version
LEFT JOIN (SELECT * FROM springest.certificate_reconciliation WHERE site = :site) AS explained
       ON version.is_current AND explained.delivery_key = version.delivery_key
WHERE version.site = :site
