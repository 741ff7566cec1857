"""Notifications: the night's summary, failures, missed deadlines."""
