-- Deliveries by state, and how many of them wait for a person.
SELECT delivery.state,
       count(*) AS deliveries,
       count(*) FILTER (WHERE delivery.state IN ('review', 'unknown', 'vanished')
                           OR delivery.needs_review
                           OR (verdict.needs_review AND verdict.delivery_state = delivery.state)) AS for_a_person
FROM springest.delivery AS delivery
LEFT JOIN springest.current_verdict AS verdict ON verdict.delivery_id = delivery.delivery_id
WHERE delivery.site = :site
GROUP BY delivery.state
ORDER BY delivery.state
