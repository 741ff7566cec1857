-- Claim deliveries: compare-and-set, lease and attempt in one commit, before the first byte is sent. Deliveries are
-- locked in the order of their keys, so that two workers never deadlock. Claims of a site wait for each other, and each
-- counts what earlier ones have in flight or left unknown: together they never exceed :max_unknown. All tries of a run together, also
-- concurrent ones, send no more than :run_limit.
-- Returns a row for each delivery asked for: its attempt, or why it was refused (see NotClaimed).
WITH request AS (
    -- If two workers ask for the same delivery, the first one may get it.
    SELECT DISTINCT ON (delivery_key) *
    FROM jsonb_to_recordset(CAST(:requests AS jsonb))
         AS request (position integer, delivery_key text, version integer, lease_seconds double precision,
                     document_sha256 text, document_size bigint)
    ORDER BY delivery_key, position
), claim_lock AS MATERIALIZED (
    SELECT pg_advisory_xact_lock({lock})
), capacity AS MATERIALIZED (
    SELECT GREATEST(0, CAST(:max_unknown AS bigint) - springest.unknown_outcomes(
               CAST(:site AS text), CAST(:since AS timestamptz), true)) AS of_site,
           -- Null without a limit.
           CASE WHEN CAST(:run_limit AS bigint) IS NOT NULL
                THEN GREATEST(0, CAST(:run_limit AS bigint)
                                 - springest.sent_by_run(CAST(:site AS text), CAST(:run_id AS text))) END AS of_run
    FROM claim_lock
), ledger AS MATERIALIZED (
    -- A standby that took over, or a backup, may have lost attempts that the worker knows of: deliveries that are ready
    -- there may have been sent.
    SELECT GREATEST((SELECT max(attempt_id) FROM springest.delivery_attempt),
                    (SELECT max(highest_attempt_id) FROM springest.ledger_restoration), 0)
           >= :known_attempt AS is_complete
), locked AS MATERIALIZED (
    SELECT delivery.delivery_key
    FROM springest.delivery
    JOIN request ON request.delivery_key = delivery.delivery_key
    WHERE delivery.state = 'ready' AND delivery.version = request.version AND (SELECT is_complete FROM ledger)
    ORDER BY delivery.delivery_key
    LIMIT (SELECT LEAST(of_site, of_run) FROM capacity)
    FOR UPDATE OF delivery
), claimed AS (
    UPDATE springest.delivery AS delivery
    SET state = 'sending',
        reason = NULL,
        reason_detail = NULL,
        lease_owner = CAST(:worker AS text),
        lease_until = clock_timestamp() + make_interval(secs => request.lease_seconds),
        document_sha256 = request.document_sha256,
        document_size = request.document_size,
        version = delivery.version + 1,
        updated_at = clock_timestamp()
    FROM request
    JOIN locked USING (delivery_key)
    WHERE delivery.delivery_key = request.delivery_key
      AND delivery.state = 'ready'
      AND delivery.version = request.version
    RETURNING delivery.delivery_id, delivery.delivery_key, delivery.document_sha256, delivery.certification_id, delivery.valid_from,
              delivery.valid_until
), attempt AS (
    INSERT INTO springest.delivery_attempt
        (delivery_id, run_id, worker, document_sha256, certification_id, valid_from, valid_until)
    SELECT delivery_id, CAST(:run_id AS text), CAST(:worker AS text), document_sha256, certification_id, valid_from,
           valid_until
    FROM claimed
    RETURNING delivery_id, attempt_id
)
SELECT request.position,
       attempt.attempt_id,
       CASE WHEN NOT ledger.is_complete THEN 'ledger_behind'
            WHEN (SELECT count(*) FROM attempt) >= capacity.of_run THEN 'run_limit_reached'
            WHEN (SELECT count(*) FROM attempt) >= capacity.of_site THEN 'no_capacity'
            ELSE 'taken' END AS refusal
FROM request
CROSS JOIN capacity
CROSS JOIN ledger
LEFT JOIN claimed USING (delivery_key)
LEFT JOIN attempt USING (delivery_id)
