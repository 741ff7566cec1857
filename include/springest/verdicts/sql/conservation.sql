-- Conservation: every source row that a run counted has exactly one verdict, current or pending.
WITH pending AS MATERIALIZED (
    SELECT verdict.delivery_id
    FROM springest.publication
    JOIN springest.verdict USING (publication_id)
    WHERE publication.site = :site AND publication.published_at IS NULL
), counted AS (
    SELECT staged.run_id, staged.source_count,
           count(COALESCE(current.delivery_id, pending.delivery_id)) AS verdicts
    FROM springest.staging_run AS staged
    LEFT JOIN springest.staged_row AS seen ON seen.site = staged.site AND seen.run_id = staged.run_id
    LEFT JOIN springest.current_verdict AS current ON current.delivery_id = seen.delivery_id
    LEFT JOIN pending ON pending.delivery_id = seen.delivery_id AND current.delivery_id IS NULL
    WHERE staged.site = :site
    GROUP BY staged.run_id, staged.source_count
), incomplete AS (
    SELECT run_id, source_count, verdicts FROM counted WHERE source_count <> verdicts ORDER BY run_id LIMIT 1
)
SELECT COALESCE(sum(counted.source_count), 0)::bigint AS source_rows,
       COALESCE(sum(counted.verdicts), 0)::bigint AS verdict_rows,
       (SELECT run_id FROM incomplete) AS incomplete_run,
       (SELECT source_count FROM incomplete) AS incomplete_source_rows,
       (SELECT verdicts FROM incomplete) AS incomplete_verdicts
FROM counted
