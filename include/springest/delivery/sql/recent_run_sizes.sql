-- Certificates that each of the last delivering runs sent, without this run. Each run stages before it delivers.
SELECT (SELECT count(DISTINCT attempt.delivery_id)
        FROM springest.delivery_attempt AS attempt
        JOIN springest.delivery USING (delivery_id)
        WHERE delivery.site = :site AND attempt.run_id = run.run_id)
FROM (
    SELECT staging_run.run_id, staging_run.committed_at
    FROM springest.staging_run
    WHERE staging_run.site = :site
      AND staging_run.run_id <> :run_id
      AND (SELECT true FROM springest.delivery_attempt AS attempt
           JOIN springest.delivery USING (delivery_id)
           WHERE delivery.site = :site AND attempt.run_id = staging_run.run_id
           LIMIT 1)
    ORDER BY staging_run.committed_at DESC
    LIMIT :last
) AS run
ORDER BY run.committed_at DESC
