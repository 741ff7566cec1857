-- A function, because each query in one sees what was committed before it, also when the statement that calls it
-- began earlier: a claim waits for the claims before it, and then counts them.
CREATE OR REPLACE FUNCTION springest.open_doubts(of_site text, since timestamptz, under_way boolean) RETURNS bigint
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
    'Deliveries of a site that were sent since a moment (null: twelve hours ago) and are in doubt, '
    'and on request those that are under way';
