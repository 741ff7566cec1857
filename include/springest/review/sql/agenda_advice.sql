-- What the published verdicts advise about these deliveries, and since when they have waited.
SELECT delivery_key, what_to_do, waits_since, match_evidence
FROM springest.delivery_review
WHERE site = :site AND delivery_key = ANY(CAST(:keys AS text[]))
