-- Certification and dates of which something is open and something is shown.
INSERT INTO pg_temp.matching_block (certification_id, valid_from, valid_to)
SELECT certification_id, valid_from, valid_to FROM pg_temp.matching_node WHERE is_open AND state <> 'held'
  AND certification_id IS NOT NULL AND valid_from IS NOT NULL
INTERSECT
SELECT certification_id, valid_from, valid_to FROM pg_temp.matching_row
