-- Compare-and-set, lease and attempt in one commit: it stands before the first byte leaves. Several deliveries
-- at once, locked in the order of their keys, so that two workers never wait for each other in a circle.
-- Claims of a site come one after another, and each counts what is under way or in doubt after those before it: all
-- workers and runs together leave no more in doubt than one may, and all tries of a run together, also two at once, send
-- no more than it may.
WITH asked AS (
    -- Only the first request for a delivery gets it.
    SELECT DISTINCT ON (delivery_key) *
    FROM jsonb_to_recordset(CAST(:asked AS jsonb))
         AS asked (place integer, delivery_key text, version integer, lease_seconds double precision,
                   document_sha256 text, document_size bigint)
    ORDER BY delivery_key, place
), alone AS MATERIALIZED (
    SELECT pg_advisory_xact_lock({lock})
), room AS MATERIALIZED (
    SELECT GREATEST(0, CAST(:most_in_doubt AS bigint) - springest.open_doubts(
               CAST(:site AS text), CAST(:since AS timestamptz), true)) AS places,
           -- Null: as many as there are.
           CASE WHEN CAST(:most_by_run AS bigint) IS NOT NULL
                THEN GREATEST(0, CAST(:most_by_run AS bigint)
                                 - springest.sent_by_run(CAST(:site AS text), CAST(:run_id AS text))) END AS places_of_run
    FROM alone
), ledger AS MATERIALIZED (
    -- A standby that took over meanwhile, or a backup, may have forgotten attempts that the worker knows of: what it
    -- calls ready may have been sent.
    SELECT GREATEST((SELECT max(attempt_id) FROM springest.delivery_attempt),
                    (SELECT max(highest_attempt_id) FROM springest.ledger_restoration), 0) >= :known_attempt AS is_whole
), free AS MATERIALIZED (
    SELECT delivery.delivery_key
    FROM springest.delivery
    JOIN asked ON asked.delivery_key = delivery.delivery_key
    WHERE delivery.state = 'ready' AND delivery.version = asked.version AND (SELECT is_whole FROM ledger)
    ORDER BY delivery.delivery_key
    LIMIT (SELECT LEAST(places, places_of_run) FROM room)
    FOR UPDATE OF delivery
), claimed AS (
    UPDATE springest.delivery AS delivery
    SET state = 'sending',
        reason = NULL,
        reason_detail = NULL,
        lease_owner = CAST(:worker AS text),
        lease_until = clock_timestamp() + make_interval(secs => asked.lease_seconds),
        document_sha256 = asked.document_sha256,
        document_size = asked.document_size,
        version = delivery.version + 1,
        updated_at = clock_timestamp()
    FROM asked
    JOIN free USING (delivery_key)
    WHERE delivery.delivery_key = asked.delivery_key
      AND delivery.state = 'ready'
      AND delivery.version = asked.version
    RETURNING delivery.delivery_key, delivery.document_sha256, delivery.certification_id, delivery.valid_from,
              delivery.valid_until
), made AS (
    INSERT INTO springest.delivery_attempt
        (delivery_key, run_id, worker, document_sha256, certification_id, valid_from, valid_until)
    SELECT delivery_key, CAST(:run_id AS text), CAST(:worker AS text), document_sha256, certification_id, valid_from,
           valid_until
    FROM claimed
    RETURNING delivery_key, attempt_id
)
SELECT delivery_key, attempt_id, NULL AS places_of_run, NULL AS is_whole FROM made
UNION ALL
SELECT NULL, places, places_of_run, is_whole FROM room, ledger
