-- What is in the queue, and how much of the last hour's allowance went to POSTs: of the last :cap attempts, which are
-- all that an hour can hold.
SELECT clock_timestamp() AS now,
       queue.ready,
       queue.oldest,
       limits.frozen_until,
       posts.last_hour
FROM (SELECT count(*) AS ready, min(created_at) AS oldest
      FROM springest.delivery
      WHERE site = :site AND indexed_state = 'ready') AS queue
CROSS JOIN (SELECT count(*) AS last_hour
            FROM (SELECT delivery_id, started_at
                  FROM springest.delivery_attempt
                  ORDER BY attempt_id DESC
                  LIMIT :cap) AS newest
            JOIN springest.delivery USING (delivery_id)
            WHERE delivery.site = :site AND newest.started_at > clock_timestamp() - interval '1 hour') AS posts
LEFT JOIN springest.rate_limit AS limits
       ON limits.host = :host AND limits.key_fingerprint = :key_fingerprint
