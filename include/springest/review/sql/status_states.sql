-- Deliveries by state, and how many wait for a person in any state.
SELECT delivery.state,
       count(*) AS deliveries,
       (SELECT count(*) FROM springest.needs_person WHERE needs_person.site = :site) AS for_a_person
FROM springest.delivery AS delivery
WHERE delivery.site = :site
GROUP BY delivery.state
ORDER BY delivery.state
