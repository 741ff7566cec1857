-- Earliest time at which each shown certificate was posted: from the POST whose response has its id, or from its
-- `created_at`, less the possible clock difference and delay. Used by statements that decide whether an absence counts: a
-- certification is verified as a whole, so if one of its certificates is shown, those posted earlier would be shown as well.
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
           ON answered.delivery_id = holder.delivery_id
          AND answered.springest_certificate_id = remote.springest_certificate_id
