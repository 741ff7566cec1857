-- Failed checks that block publishing.
SELECT check_name, delivery_key, training_id, found, remedy
FROM springest.failed_check
WHERE site = :site AND check_name <> 'conservation'
LIMIT :shown
