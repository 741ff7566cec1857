-- The last days on which runs staged rows, with what became of these rows by now. Only days whose rows can be counted
-- quickly are counted: the newest ones, :most_rows rows together; of the others there is the source's own count.
WITH days AS (
    SELECT day, runs, completed, sum(completed) OVER (ORDER BY day DESC) <= :most_rows AS is_counted
    FROM (
        SELECT (committed_at AT TIME ZONE 'UTC')::date AS day,
               count(*) AS runs,
               sum(source_count)::bigint AS completed
        FROM springest.staging_run
        WHERE site = :site AND source_count > 0
        GROUP BY 1
        ORDER BY 1 DESC
        LIMIT :days
    ) AS newest
), counted AS (
    SELECT days.day,
           verdict.live_status AS verdict,
           count(*) AS rows,
           count(verdict.sent_at) AS sent
    FROM days
    JOIN springest.staging_run AS staged
      ON staged.site = :site AND (staged.committed_at AT TIME ZONE 'UTC')::date = days.day
    JOIN springest.staged_row AS seen ON seen.site = staged.site AND seen.run_id = staged.run_id
    LEFT JOIN springest.current_verdict AS verdict ON verdict.delivery_id = seen.delivery_id
    WHERE days.is_counted
    GROUP BY 1, 2
)
SELECT days.day, days.runs, days.completed, days.is_counted, counted.verdict, counted.rows, counted.sent
FROM days
LEFT JOIN counted USING (day)
ORDER BY days.day, counted.verdict
