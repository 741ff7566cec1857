-- Block after block: its POSTs, each with a digest of its delivery's stored match, and its certificates.
SELECT block.block_no, false AS is_shown, node.delivery_id AS number, node.learner_ref,
       extract(epoch FROM node.sent_at)::float8 AS moment, NULL::float8 AS seen_by,
       node.is_open OR node.is_earlier AS one, node.is_acknowledged AS other,
       CASE WHEN node.is_open
            THEN md5(concat_ws('|', old.verification_status, COALESCE(old.match_method, '-'),
                               COALESCE(old.springest_certificate_id, 0), COALESCE(old.review_reason, '-'),
                               old.evidence)) END AS digest
FROM pg_temp.matching_node AS node
JOIN pg_temp.matching_block AS block USING (certification_id, valid_from, valid_to)
LEFT JOIN springest.delivery_match AS old ON old.delivery_id = node.delivery_id AND node.is_open
WHERE node.state <> 'held' OR NOT node.is_open
UNION ALL
SELECT block.block_no, true, shown.springest_certificate_id, shown.learner_ref,
       extract(epoch FROM shown.created_at)::float8, extract(epoch FROM shown.seen_by)::float8,
       shown.is_gone,
       shown.springest_status IS NULL OR lower(shown.springest_status) = ANY(CAST(:verified_statuses AS text[])),
       NULL
FROM pg_temp.matching_row AS shown
JOIN pg_temp.matching_block AS block USING (certification_id, valid_from, valid_to)
ORDER BY block_no
