-- What was said about the learner's attempts, and what tells their document from others.
UPDATE springest.delivery_attempt
SET message = NULL,
    document_sha256 = repeat('0', 64)
WHERE delivery_key = ANY(CAST(:keys AS text[]))
