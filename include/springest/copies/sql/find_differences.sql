-- Rows to write, since the copy lacks them, has others or has them twice, and rows to remove.
INSERT INTO pg_temp.difference (row_id, is_removed)
SELECT row_id, published.row_id IS NULL
FROM pg_temp.published
FULL JOIN (SELECT row_id, CASE WHEN count(*) = 1 THEN max(row_hash) END AS row_hash
           FROM pg_temp.copied
           GROUP BY row_id) AS once USING (row_id)
WHERE published.row_hash IS DISTINCT FROM once.row_hash
