-- Keep what was found, write only what differs, and take back what is found no more.
WITH kept AS (
    INSERT INTO springest.delivery_match AS kept
        (delivery_id, site, verification_status, match_method, springest_certificate_id, candidates,
         candidate_count, evidence, review_reason)
    SELECT delivery_id, :site, verification_status, match_method, springest_certificate_id, candidates,
           candidate_count, evidence, review_reason
    FROM pg_temp.matching_found
    ON CONFLICT (delivery_id) DO UPDATE
    SET verification_status = excluded.verification_status,
        match_method = excluded.match_method,
        springest_certificate_id = excluded.springest_certificate_id,
        candidates = excluded.candidates,
        candidate_count = excluded.candidate_count,
        evidence = excluded.evidence,
        review_reason = excluded.review_reason,
        matched_at = excluded.matched_at
    WHERE (kept.verification_status, kept.match_method, kept.springest_certificate_id, kept.candidates,
           kept.candidate_count, kept.evidence, kept.review_reason)
          IS DISTINCT FROM
          (excluded.verification_status, excluded.match_method, excluded.springest_certificate_id,
           excluded.candidates, excluded.candidate_count, excluded.evidence, excluded.review_reason)
    RETURNING delivery_id
), taken_back AS (
    DELETE FROM springest.delivery_match AS old
    WHERE old.site = :site
      AND NOT EXISTS (SELECT FROM pg_temp.matching_found AS found WHERE found.delivery_id = old.delivery_id)
      AND NOT EXISTS (SELECT FROM pg_temp.matching_kept AS kept WHERE kept.delivery_id = old.delivery_id)
    RETURNING delivery_id
)
SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM taken_back)
