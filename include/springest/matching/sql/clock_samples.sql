-- By how much Springest's `created_at` is later than the POST, hour by hour, where an id proves which is whose.
SELECT floor(date_part('epoch', delivery.sent_at) / 3600)::bigint AS hour,
       count(*),
       min(date_part('epoch', delivery.sent_at)),
       max(date_part('epoch', delivery.sent_at)),
       min(date_part('epoch', remote.created_at - delivery.sent_at)),
       max(date_part('epoch', remote.created_at - delivery.sent_at))
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
