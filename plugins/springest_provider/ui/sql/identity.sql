-- The training that a delivery is of; it may not be published yet.
SELECT site, training_id FROM springest.delivery WHERE delivery_key = :delivery_key
