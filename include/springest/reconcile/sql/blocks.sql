-- Blocks of equal certification and dates in which something is open and something is shown, one after the other:
-- their POSTs and their certificates.
WITH alike AS (
    SELECT certification_id, valid_from, valid_to FROM pg_temp.matching_node WHERE is_open AND sent_at IS NOT NULL
    INTERSECT
    SELECT certification_id, valid_from, valid_to FROM pg_temp.matching_row
), block AS MATERIALIZED (
    SELECT alike.*, row_number() OVER () AS block_no FROM alike
)
SELECT block.block_no, false AS is_shown, node.delivery_key AS name, node.learner_ref,
       extract(epoch FROM node.sent_at)::float8 AS moment, NULL::float8 AS seen_by,
       node.is_open AS one, node.is_acknowledged AS other
FROM pg_temp.matching_node AS node
JOIN block USING (certification_id, valid_from, valid_to)
WHERE node.sent_at IS NOT NULL
UNION ALL
SELECT block.block_no, true, shown.springest_certificate_id::text, shown.learner_ref,
       extract(epoch FROM shown.created_at)::float8, extract(epoch FROM shown.seen_by)::float8,
       shown.is_gone,
       shown.springest_status IS NULL OR lower(shown.springest_status) = ANY(CAST(:verified_statuses AS text[]))
FROM pg_temp.matching_row AS shown
JOIN block USING (certification_id, valid_from, valid_to)
ORDER BY block_no
