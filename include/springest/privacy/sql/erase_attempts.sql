-- Clear messages about the learner's attempts, and the hash that identifies their document.
UPDATE springest.delivery_attempt
SET message = NULL,
    document_sha256 = repeat('0', 64)
WHERE delivery_id = ANY(CAST(:delivery_ids AS bigint[]))
