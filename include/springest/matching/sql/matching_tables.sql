-- Where one matching keeps what it works on; gone when its transaction ends.
DROP TABLE IF EXISTS pg_temp.matching_node, pg_temp.matching_row, pg_temp.matching_block,
    pg_temp.matching_found, pg_temp.matching_kept, pg_temp.matching_released;
-- A POST that may have made a certificate which is not known by its id.
CREATE TEMPORARY TABLE matching_node (
    node_id bigint GENERATED ALWAYS AS IDENTITY,
    delivery_id bigint NOT NULL,
    version integer NOT NULL,
    state text NOT NULL,
    -- Whether it gets a finding; the others only compete for certificates.
    is_open boolean NOT NULL,
    -- An earlier POST of a delivery that is open, with what was sent last: its certificate is that delivery's as well.
    is_earlier boolean NOT NULL DEFAULT false,
    is_acknowledged boolean NOT NULL,
    sent_at timestamptz,
    certification_id bigint,
    valid_from date,
    valid_to date NOT NULL,
    learner_ref text
) ON COMMIT DROP;
-- A certificate that is shown and that no delivery has by its id.
CREATE TEMPORARY TABLE matching_row (
    springest_certificate_id bigint NOT NULL,
    certification_id bigint,
    valid_from date,
    valid_until date,
    valid_to date NOT NULL,
    learner_ref text,
    created_at timestamptz,
    seen_by timestamptz NOT NULL,
    is_gone boolean NOT NULL,
    springest_status text,
    -- The newest complete snapshot lacks it.
    is_lacked boolean NOT NULL
) ON COMMIT DROP;
CREATE TEMPORARY TABLE matching_block (
    block_no bigint GENERATED ALWAYS AS IDENTITY,
    certification_id bigint NOT NULL,
    valid_from date NOT NULL,
    valid_to date NOT NULL
) ON COMMIT DROP;
-- Deliveries that a person released.
CREATE TEMPORARY TABLE matching_released (
    delivery_id bigint NOT NULL,
    version integer NOT NULL,
    certification_id bigint,
    valid_from date,
    valid_until date,
    learner_ref text,
    first_at timestamptz
) ON COMMIT DROP;
-- For an unchanged finding, only the key.
CREATE TEMPORARY TABLE matching_kept (delivery_id bigint NOT NULL) ON COMMIT DROP;
CREATE TEMPORARY TABLE matching_found (
    delivery_id bigint NOT NULL,
    verification_status text NOT NULL,
    match_method text,
    springest_certificate_id bigint,
    candidates bigint[] NOT NULL,
    candidate_count integer NOT NULL,
    evidence text NOT NULL,
    review_reason text
) ON COMMIT DROP;
