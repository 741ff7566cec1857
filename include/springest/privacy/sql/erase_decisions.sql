-- What people wrote about the learner.
UPDATE springest.delivery_decision
SET reason = 'cleared: the learner was erased'
WHERE delivery_key = ANY(CAST(:keys AS text[]))
