-- Names and types of the columns of the two views, in their order; only those that this role may read.
SELECT table_name, column_name, data_type, character_maximum_length
FROM information_schema.columns
WHERE table_schema = 'springest'
  AND table_name IN ('certificate_reconciliation', 'certificate_reconciliation_history')
ORDER BY table_name, ordinal_position
