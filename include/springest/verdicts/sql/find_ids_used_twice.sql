-- Ids that several deliveries have, for the two statements that follow. If an id is recorded again after this, the next
-- computation finds it: the input hash of a verdict contains whether its id was used twice.
CREATE TEMPORARY TABLE id_used_twice ON COMMIT DROP AS
SELECT springest_certificate_id
FROM springest.delivery
WHERE site = :site AND springest_certificate_id IS NOT NULL
GROUP BY springest_certificate_id
HAVING count(*) > 1
