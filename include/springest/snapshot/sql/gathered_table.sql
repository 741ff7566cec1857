-- Collects a snapshot's rows; only this connection sees it.
DROP TABLE IF EXISTS pg_temp.gathered;
CREATE TEMPORARY TABLE gathered (
    position bigint GENERATED ALWAYS AS IDENTITY,
    springest_certificate_id bigint NOT NULL,
    certification_id bigint,
    valid_from date,
    valid_until date,
    springest_status text,
    created_at timestamptz,
    learner_ref text,
    owner_told_by text
);
