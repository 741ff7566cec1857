-- When the certificates that Springest shows were posted, at the earliest: by the POST that was answered with their id,
-- or by their `created_at`, less what clocks may differ and what may be stored late. A part of the statements that ask
-- whether an absence means something: a certification is verified as a whole, so when a certificate of it is shown, one
-- that was posted earlier would be shown as well.
    SELECT remote.site,
           remote.certification_id,
           remote.springest_certificate_id,
           remote.first_seen_at,
           remote.lacked_at,
           GREATEST(answered.started_at, remote.created_at - make_interval(hours => :later_by_hours)) AS posted_at
    FROM springest.remote_certificate AS remote
    LEFT JOIN springest.delivery AS holder
           ON holder.site = remote.site AND holder.springest_certificate_id = remote.springest_certificate_id
    LEFT JOIN springest.delivery_attempt AS answered
           ON answered.delivery_key = holder.delivery_key
          AND answered.springest_certificate_id = remote.springest_certificate_id
