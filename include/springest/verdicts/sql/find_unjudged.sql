-- Deliveries whose verdict must be worked out: nothing is published of them, or what it was made from has changed since,
-- or somebody changed what is published. The seal tells all three, and only narrow columns are joined for it.
CREATE TEMPORARY TABLE unjudged ON COMMIT DROP AS
SELECT needed.delivery_key
FROM (
    SELECT delivery.delivery_key, {basis} AS basis
    {facts}) AS needed
LEFT JOIN springest.reconciled_delivery AS published ON published.delivery_key = needed.delivery_key
WHERE published.seal IS DISTINCT FROM hash_record_extended(ROW(int8send(needed.basis), published.xmin), 0)
