-- What has been unknown for too long needs a person, evidence or not.
UPDATE springest.delivery AS delivery
SET state = 'review',
    reason = 'unknown_for_long',
    reason_detail = format('it has been unknown for %s days whether Springest took it: look for it in Springest''s admin',
                           CAST(:days AS integer)),
    version = delivery.version + 1,
    updated_at = clock_timestamp()
WHERE delivery.site = :site
  AND delivery.indexed_state = 'unknown'
  AND delivery.sent_at < clock_timestamp() - make_interval(days => :days)
