-- A function for the same reason as `unknown_outcomes`: a claim counts what earlier claims have committed.
CREATE OR REPLACE FUNCTION springest.sent_by_run(of_site text, of_run text) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT count(DISTINCT attempt.delivery_id)
            FROM springest.delivery_attempt AS attempt
            JOIN springest.delivery USING (delivery_id)
            WHERE delivery.site = of_site AND attempt.run_id = of_run AND attempt.outcome IS DISTINCT FROM 'not_stored');
END
$$;

COMMENT ON FUNCTION springest.sent_by_run(text, text) IS
    'Certificates that one run sent in all its tries, answered or not, except those that never reached the server';
