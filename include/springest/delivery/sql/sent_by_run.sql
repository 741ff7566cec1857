SELECT springest.sent_by_run(CAST(:site AS text), CAST(:run_id AS text))
