-- The candidates become what analysts read. Every one of them is new or different; the site's lock keeps others out.
-- What only explains a verdict (the name of the certification, the texts) makes no version. All parts see the verdicts
-- as they were before.
WITH ended AS (
    INSERT INTO springest.ended_verdict (delivery_key, valid_from_ts, valid_to_ts, {versioned})
    SELECT published.delivery_key, published.valid_from_ts, CAST(:at AS timestamptz), {published_versioned}
    FROM springest.reconciled_delivery AS published
    JOIN springest.reconciled_candidate AS candidate USING (delivery_key)
    WHERE candidate.site = :site
      AND ({published_versioned}) IS DISTINCT FROM ({candidate_versioned})
    ORDER BY published.delivery_key
    RETURNING delivery_key
), changed AS (
    UPDATE springest.reconciled_delivery AS published
    SET ({said}, valid_from_ts, seal)
      = ({candidate_said},
         CASE WHEN ended.delivery_key IS NULL THEN published.valid_from_ts ELSE :at END,
         hash_record_extended(ROW(int8send(candidate.basis), pg_current_xact_id()::xid), 0))
    FROM springest.reconciled_candidate AS candidate
    LEFT JOIN ended USING (delivery_key)
    WHERE candidate.site = :site AND published.delivery_key = candidate.delivery_key
), added AS (
    INSERT INTO springest.reconciled_delivery (delivery_key, {said}, valid_from_ts, seal)
    SELECT delivery_key, {said}, :at, hash_record_extended(ROW(int8send(basis), pg_current_xact_id()::xid), 0)
    FROM springest.reconciled_candidate AS candidate
    WHERE site = :site
      AND NOT EXISTS (SELECT FROM springest.reconciled_delivery AS published
                      WHERE published.delivery_key = candidate.delivery_key)
    ORDER BY delivery_key
    RETURNING 1
)
SELECT (SELECT count(*) FROM ended) + (SELECT count(*) FROM added)
