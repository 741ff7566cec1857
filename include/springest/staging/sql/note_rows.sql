-- Record which delivery each source row of a run became. (An outer join: a row without a delivery fails.)
INSERT INTO springest.staged_row AS noted (site, run_id, row_no, delivery_id)
SELECT :site, :run_id, numbered.row_no, delivery.delivery_id
FROM unnest(CAST(:row_numbers AS integer[]), CAST(:delivery_keys AS text[])) AS numbered (row_no, delivery_key)
LEFT JOIN springest.delivery USING (delivery_key)
ON CONFLICT (site, run_id, row_no) DO UPDATE
SET delivery_id = excluded.delivery_id
WHERE noted.delivery_id <> excluded.delivery_id
