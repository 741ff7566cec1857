-- What was sent lately and is in doubt, of all runs; and what is under way, if that is asked for.
SELECT springest.open_doubts(:site, CAST(:since AS timestamptz), :under_way)
