-- Pending verdicts replace the current ones. A version that ends moves to the history; one that goes on, since only its
-- explanation was rewritten, does not.
WITH replaced AS (
    DELETE FROM springest.verdict AS current
    USING springest.verdict AS pending
    WHERE pending.publication_id = :publication_id
      AND current.delivery_id = pending.delivery_id
      AND current.publication_id <> :publication_id
    RETURNING current.*, pending.version_from IS NOT NULL AS goes_on
), ended AS (
    INSERT INTO springest.verdict_history (delivery_id, version_from, version_to, {versioned})
    SELECT replaced.delivery_id, COALESCE(replaced.version_from, publication.published_at),
           CAST(:at AS timestamptz), {replaced_versioned}
    FROM replaced
    JOIN springest.publication USING (publication_id)
    WHERE NOT replaced.goes_on
    ORDER BY replaced.delivery_id
    RETURNING 1
)
SELECT (SELECT count(*) FROM replaced) AS replaced, (SELECT count(*) FROM ended) AS ended
