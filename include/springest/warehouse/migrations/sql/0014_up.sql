CREATE TABLE springest.released_run (
    site TEXT NOT NULL,
    run_id TEXT NOT NULL,
    released_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT released_run_pkey PRIMARY KEY (site, run_id)
);
COMMENT ON TABLE springest.released_run IS
    'One row per run whose deliveries were accepted as a night''s work; only those are sent';
COMMENT ON COLUMN springest.released_run.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.released_run.run_id IS 'Airflow run that staged them';
COMMENT ON COLUMN springest.released_run.released_at IS 'When they were accepted';

INSERT INTO springest.released_run (site, run_id, released_at)
SELECT site, run_id, released_at FROM springest.staging_run WHERE released_at IS NOT NULL;

ALTER TABLE springest.staging_run DROP COLUMN released_at;

-- The few that are in doubt, by when they were sent: each claim counts those of the last hours.
CREATE INDEX delivery_doubt_idx ON springest.delivery (site, sent_at)
    WHERE indexed_state IN ('unknown', 'review');

-- A function, because each query in one sees what was committed before it, also when the statement that calls it
-- began earlier: a claim waits for the claims before it, and then counts them.
CREATE FUNCTION springest.open_doubts(of_site text, since timestamptz, under_way boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    moment CONSTANT timestamptz := COALESCE(since, clock_timestamp() - interval '12 hours');
BEGIN
    RETURN (SELECT count(*) FROM springest.delivery
            WHERE site = of_site AND indexed_state IN ('unknown', 'review') AND sent_at > moment)
         + (SELECT count(*) FROM springest.delivery
            WHERE under_way AND site = of_site AND indexed_state = 'sending');
END
$$;
COMMENT ON FUNCTION springest.open_doubts(text, timestamptz, boolean) IS
    'Deliveries of a site that were sent since a moment (null: twelve hours ago) and are in doubt, and on request those that are under way';
