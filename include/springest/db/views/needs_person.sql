-- The one definition of what waits for a person now. A verdict counts only while it is about the delivery's state. Each
-- part is answered by a partial index, so that the few are found among millions.
CREATE OR REPLACE VIEW springest.needs_person AS
SELECT delivery.site, delivery.delivery_id
FROM springest.delivery
WHERE delivery.indexed_state IN ('review', 'unknown', 'vanished')
UNION
SELECT delivery.site, delivery.delivery_id
FROM springest.delivery
WHERE delivery.needs_review
UNION
SELECT verdict.site, verdict.delivery_id
FROM springest.current_verdict AS verdict
JOIN springest.delivery USING (delivery_id)
WHERE verdict.needs_review AND verdict.delivery_state = delivery.state;

COMMENT ON VIEW springest.needs_person IS 'Deliveries that wait for a person now';
COMMENT ON COLUMN springest.needs_person.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.needs_person.delivery_id IS 'Delivery';
