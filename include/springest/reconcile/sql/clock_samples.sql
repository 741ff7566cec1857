-- By how much Springest's `created_at` is later than the POST, hour by hour, where an id proves which is whose.
SELECT extract(epoch FROM date_trunc('hour', delivery.sent_at))::bigint / 3600 AS hour,
       count(*),
       min(extract(epoch FROM delivery.sent_at))::float8,
       max(extract(epoch FROM delivery.sent_at))::float8,
       min(extract(epoch FROM remote.created_at - delivery.sent_at))::float8,
       max(extract(epoch FROM remote.created_at - delivery.sent_at))::float8
FROM springest.delivery AS delivery
JOIN springest.remote_certificate AS remote
  ON remote.site = delivery.site
 AND remote.springest_certificate_id = delivery.springest_certificate_id
WHERE delivery.site = :site
  AND delivery.match_method = 'springest_id'
  AND remote.created_at IS NOT NULL
  AND delivery.sent_at >= (SELECT min(sent_at) FROM pg_temp.matching_node WHERE is_open) - interval '1 day'
GROUP BY 1
ORDER BY 1
