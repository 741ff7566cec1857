-- This is a function because each query in a function sees rows committed before that query, even if the calling
-- statement began earlier: a claim waits for earlier claims, and then counts them.
CREATE OR REPLACE FUNCTION springest.unknown_outcomes(of_site text, since timestamptz, under_way boolean) RETURNS bigint
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

COMMENT ON FUNCTION springest.unknown_outcomes(text, timestamptz, boolean) IS
    'Number of a site''s deliveries that were sent since a time (null: twelve hours ago) and are unknown or in '
    'review, and optionally of those in flight';
