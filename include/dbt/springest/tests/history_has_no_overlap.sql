-- One version of a verdict holds at a time, and each verdict has exactly one that holds now.
WITH versions AS (
    SELECT delivery_key, valid_from_ts, valid_to_ts, is_current,
           lead(valid_from_ts) OVER (PARTITION BY delivery_key ORDER BY valid_from_ts) AS next_from_ts
    FROM {{ source('springest', 'certificate_reconciliation_history') }}
)
SELECT delivery_key, valid_from_ts
FROM versions
WHERE valid_to_ts IS DISTINCT FROM next_from_ts
   OR is_current IS DISTINCT FROM (next_from_ts IS NULL)
