-- Deliveries whose verdict must be computed: there is none, or one of its inputs has changed since, or somebody changed
-- the row. A mismatch of the input hash shows all three, and only narrow columns are joined to find it.
CREATE TEMPORARY TABLE stale ON COMMIT DROP AS
SELECT delivery_inputs.delivery_id
FROM (
    SELECT delivery.delivery_id, {inputs} AS inputs
    {facts}) AS delivery_inputs
LEFT JOIN springest.verdict AS current ON current.delivery_id = delivery_inputs.delivery_id
WHERE current.delivery_id IS NULL
   OR current.input_hash
      IS DISTINCT FROM hash_record_extended(ROW(int8send(delivery_inputs.inputs), current.xmin), 0)
