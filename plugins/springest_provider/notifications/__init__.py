"""What people are told without looking: the night's summary, failures, missed deadlines."""
