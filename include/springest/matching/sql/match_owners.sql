-- Proof by owner: Springest names the learner, and certification and dates agree. The certificate must be the only one
-- that the POST can have made, and the delivery's POSTs the only ones that can have made it; otherwise it is unknown
-- which is whose. Which of its POSTs it was does not matter: the certificate belongs to the delivery either way. A
-- certificate that was there before the POST, by its time at Springest or because a snapshot had shown it, is a different one. A
-- delivery to be adopted (`held`) was never sent, and its certificate may be of any age.
WITH edge AS (
    SELECT node.node_id, node.delivery_id, node.version, node.state, node.is_open, node.sent_at,
           node.certification_id, node.valid_from, node.valid_to,
           shown.springest_certificate_id, shown.is_gone
    FROM pg_temp.matching_node AS node
    JOIN pg_temp.matching_row AS shown
      ON shown.learner_ref = node.learner_ref
     AND shown.certification_id = node.certification_id
     AND shown.valid_from = node.valid_from
     AND shown.valid_to = node.valid_to
    -- Two erased learners can't be told apart.
    WHERE node.learner_ref <> 'forgotten'
      AND (node.sent_at IS NULL
           OR (shown.seen_by >= node.sent_at
               AND (shown.created_at IS NULL
                    OR shown.created_at >= node.sent_at - make_interval(hours => :clock_hours))))
), counted AS (
    SELECT edge.*,
           count(*) OVER (PARTITION BY node_id) AS rows_of_node,
           min(delivery_id) OVER (PARTITION BY springest_certificate_id)
               = max(delivery_id) OVER (PARTITION BY springest_certificate_id) AS is_of_one_delivery
    FROM edge
), unaskable AS (
    -- A matching certificate that has disappeared, and whose owner was never known: it may be the
    -- one, and the learner's other one somebody else's doing.
    SELECT certification_id, valid_from, valid_to,
           max(COALESCE(created_at, 'infinity')) AS created_at, max(seen_by) AS seen_by
    FROM pg_temp.matching_row
    WHERE learner_ref IS NULL AND is_lacked
    GROUP BY certification_id, valid_from, valid_to
), settled AS (
    UPDATE springest.delivery AS delivery
    SET state = 'visible',
        reason = NULL,
        reason_detail = NULL,
        springest_certificate_id = counted.springest_certificate_id,
        match_method = 'owner',
        version = delivery.version + 1,
        updated_at = clock_timestamp()
    FROM counted
    WHERE delivery.delivery_id = counted.delivery_id
      AND delivery.version = counted.version
      AND delivery.state = counted.state
      AND counted.is_open
      AND NOT counted.is_gone
      AND counted.rows_of_node = 1
      AND counted.is_of_one_delivery
      AND NOT EXISTS (SELECT FROM unaskable
                      WHERE unaskable.certification_id = counted.certification_id
                        AND unaskable.valid_from = counted.valid_from
                        AND unaskable.valid_to = counted.valid_to
                        AND (counted.sent_at IS NULL
                             OR (unaskable.seen_by >= counted.sent_at
                                 AND unaskable.created_at
                                     >= counted.sent_at - make_interval(hours => :clock_hours))))
    RETURNING delivery.delivery_id, delivery.springest_certificate_id
), closed AS (
    DELETE FROM pg_temp.matching_node AS node
    USING settled
    WHERE node.delivery_id = settled.delivery_id AND node.is_open
), answered AS (
    -- Its earlier POSTs may have created another certificate: they get no finding, but compete with others.
    UPDATE pg_temp.matching_node AS node
    SET is_earlier = false
    FROM settled
    WHERE node.delivery_id = settled.delivery_id AND node.is_earlier
), claimed AS (
    DELETE FROM pg_temp.matching_row AS shown
    USING settled
    WHERE shown.springest_certificate_id = settled.springest_certificate_id
)
SELECT count(*) FROM settled
