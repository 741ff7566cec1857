-- Computes the verdict of each delivery in `stale` and compares it with the current one. New and changed verdicts are
-- stored as pending; one that comes out the same only gets its new input hash. `OFFSET 0` keeps the steps apart:
-- otherwise each expression would be evaluated once for each place that uses it.
WITH facts AS (
    SELECT delivery.*,
           {inputs} AS inputs,
           matched.verification_status AS matched_status,
           matched.match_method AS matched_method,
           matched.evidence AS matched_evidence,
           matched.review_reason AS matched_review_reason,
           COALESCE(delivery.springest_certificate_id, matched.springest_certificate_id) AS certificate_id,
           certification.name AS certification_name,
           delivery.state = 'sending' AND delivery.lease_until >= CAST(:now AS timestamptz) AS is_under_way,
           remote.springest_certificate_id IS NOT NULL AS is_shown,
           remote.springest_status,
           remote.first_seen_at,
           remote.first_snapshot_id,
           -- An owner who was erased is still known not to be another learner; see `erase_owners.sql`.
           remote.learner_ref = COALESCE(delivery.learner_ref, 'forgotten') AS owner_agrees,
           -- Unknown for two erased learners, unless it was known when the person decided.
           remote.learner_ref = COALESCE(delivery.learner_ref, 'forgotten')
               AND (delivery.learner_ref IS NOT NULL
                    OR COALESCE(CAST(confirmed.evidence ->> 'owner_agrees' AS boolean), false)) AS names_learner,
           -- Who it was and in which words is the ledger's: analysts read this.
           format('confirmed by a person at %s UTC, decision %s',
                  to_char(confirmed.decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
                  confirmed.decision_id) AS confirmation,
           remote.certification_id AS shown_certification_id,
           remote.valid_from AS shown_valid_from,
           remote.valid_until AS shown_valid_until,
           remote.owner_told_by,
           COALESCE(remote.valid_until, delivery.valid_until) AS shown_until,
           -- What disagrees between what was sent and what is shown under its id.
           concat_ws(', ',
               CASE WHEN remote.certification_id <> delivery.certification_id THEN 'certification_id' END,
               CASE WHEN remote.valid_from <> delivery.valid_from THEN 'valid_from' END,
               CASE WHEN remote.springest_certificate_id IS NOT NULL
                     AND remote.valid_until IS DISTINCT FROM delivery.valid_until THEN 'valid_until' END,
               CASE WHEN remote.learner_ref <> COALESCE(delivery.learner_ref, 'forgotten') THEN 'learner' END,
               CASE WHEN twice.springest_certificate_id IS NOT NULL THEN 'id used twice' END
           ) AS disagreement,
           twice.springest_certificate_id IS NOT NULL AS is_used_twice,
           remote.springest_status IS NULL
               OR lower(remote.springest_status) = ANY(CAST(:verified_statuses AS text[])) AS says_verified
{facts}      AND delivery.delivery_id IN (SELECT delivery_id FROM pg_temp.stale)
    OFFSET 0
), judged AS (
    SELECT facts.*,
           CASE
               WHEN matched_status IS NOT NULL THEN matched_status
               WHEN state = 'ready' OR is_under_way THEN 'not_sent'
               WHEN state IN ('held', 'invalid', 'rejected', 'withdrawn', 'cancelled', 'vanished') THEN state
               WHEN state IN ('unknown', 'sending') THEN 'unknown'
               WHEN state = 'review' AND reason = 'missing' THEN 'missing'
               WHEN state = 'review' AND sent_at IS NULL THEN 'held'
               WHEN state = 'review' THEN 'unknown'
               WHEN state NOT IN ('accepted', 'accepted_no_id', 'visible') THEN 'unknown'
               WHEN NOT is_shown THEN 'awaiting_verification'
               WHEN disagreement <> '' OR NOT says_verified THEN 'ambiguous'
               -- A worker has just recorded its id: the next matching proves it.
               WHEN state = 'accepted' AND match_method IS NULL THEN 'awaiting_verification'
               -- A person's confirmation is no proof, unless the site names the learner as the owner.
               WHEN match_method = 'person' AND names_learner IS NOT TRUE THEN 'inferred'
               -- Verified: Springest shows it under the id that its response named, or names the learner as the owner;
               -- what it shows agrees with what was sent, and its status means verified.
               WHEN is_shown AND disagreement = '' AND says_verified
                    AND (match_method IN ('springest_id', 'owner') OR (match_method = 'person' AND names_learner))
                   THEN CASE WHEN shown_until < CAST(:today AS date) THEN 'expired' ELSE 'verified' END
               -- No rule covers it, so nothing is claimed.
               ELSE 'unknown'
           END AS verification_status
    FROM facts
    OFFSET 0
), explained AS (
    SELECT judged.*,
           CASE
               WHEN review_reason IS NOT NULL THEN review_reason
               WHEN state IN ('review', 'vanished') THEN reason
               WHEN matched_status IS NOT NULL THEN matched_review_reason
               WHEN verification_status = 'unknown' THEN 'outcome_unknown'
               WHEN verification_status = 'ambiguous' AND disagreement <> ''
                   THEN 'disagrees(' || disagreement || ')'
               WHEN verification_status = 'ambiguous' THEN 'status_not_foreseen'
           END AS look_at,
           is_shown AND disagreement = '' AND matched_status IS NULL AS is_proven
    FROM judged
    OFFSET 0
), computed AS (
    SELECT delivery_id, site, training_id, issue_no, learner_ref, certification_id, certification_name, valid_from,
           valid_until, completed_at, state AS delivery_state, reason AS delivery_reason,
           reason_detail AS delivery_reason_detail, verification_status, certificate_id AS springest_certificate_id,
           springest_status,
           CASE WHEN is_proven THEN match_method ELSE matched_method END AS match_method,
           CASE WHEN matched_status IS NOT NULL THEN matched_evidence
                WHEN is_proven AND match_method = 'springest_id'
                THEN 'the id in the response to the POST of ' || to_char(sent_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
                     || ' UTC, first shown in snapshot ' || first_snapshot_id
                WHEN is_proven AND match_method = 'person'
                THEN confirmation || CASE WHEN names_learner
                                          THEN '; Springest names the learner as its owner' ELSE '' END
                WHEN is_proven AND match_method = 'owner'
                THEN CASE WHEN owner_told_by = 'filter'
                          THEN 'Springest listed it for this learner''s address'
                          ELSE 'Springest names the learner as its owner' END
                     || ', and certification and dates agree; first shown in snapshot ' || first_snapshot_id
                     || CASE WHEN sent_at IS NULL THEN '; this ledger has no POST of it' ELSE '' END
                WHEN is_shown AND disagreement <> ''
                THEN 'Springest shows certificate ' || certificate_id || ', which is its id, with other values: '
                     || concat_ws(', ',
                            CASE WHEN shown_certification_id <> certification_id
                                 THEN format('certification %s where %s was sent', shown_certification_id, certification_id) END,
                            CASE WHEN shown_valid_from <> valid_from
                                 THEN format('first day %s where %s was sent', shown_valid_from, valid_from) END,
                            CASE WHEN shown_valid_until IS DISTINCT FROM valid_until
                                 THEN format('last day %s where %s was sent', COALESCE(shown_valid_until::text, 'none'),
                                             COALESCE(valid_until::text, 'none')) END,
                            CASE WHEN owner_agrees IS FALSE THEN 'another learner as its owner' END,
                            CASE WHEN is_used_twice THEN 'another training that has the same id' END) END
               AS match_evidence,
           sent_at, first_seen_at AS first_visible_at,
           (needs_review AND NOT is_under_way) OR look_at IS NOT NULL AS needs_review,
           look_at AS review_reason,
           hash_record_extended(ROW(int8send(inputs), pg_current_xact_id()::xid), 0) AS input_hash
    FROM explained
    OFFSET 0
), compared AS MATERIALIZED (
    SELECT computed.*,
           current.verdict_id AS current_id,
           current.verdict_id IS NOT NULL AND ({current}) IS NOT DISTINCT FROM ({computed}) AS is_unchanged,
           -- Only its explanation changed: the version goes on.
           CASE WHEN current.verdict_id IS NOT NULL
                 AND ({current_versioned}) IS NOT DISTINCT FROM ({computed_versioned})
                THEN COALESCE(current.version_from, publication.published_at) END AS version_from
    FROM computed
    LEFT JOIN springest.verdict AS current ON current.delivery_id = computed.delivery_id
    LEFT JOIN springest.publication ON publication.publication_id = current.publication_id
), unchanged AS (
    UPDATE springest.verdict
    SET input_hash = compared.input_hash
    FROM compared
    WHERE compared.is_unchanged AND verdict.delivery_id = compared.delivery_id AND verdict.verdict_id = compared.current_id
)
INSERT INTO springest.verdict (publication_id, version_from, {columns}, input_hash)
SELECT CAST(:publication_id AS bigint), version_from, {columns}, input_hash
FROM compared
WHERE NOT is_unchanged
ORDER BY delivery_id
