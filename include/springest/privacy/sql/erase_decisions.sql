-- What people wrote about the learner.
UPDATE springest.delivery_decision
SET reason = 'cleared: the learner was erased'
WHERE delivery_id = ANY(CAST(:delivery_ids AS bigint[]))
