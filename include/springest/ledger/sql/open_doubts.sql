-- What was sent lately and is in doubt, of all runs; and what is under way, if that is asked for.
SELECT springest.open_doubts(:site, COALESCE(CAST(:since AS timestamptz), clock_timestamp() - interval '12 hours'),
                             :under_way)
