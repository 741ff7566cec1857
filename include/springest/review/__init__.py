"""People's part: what waits for a decision, the decisions and their rules, recovery after a restore.

May import: everything above; nothing in this package imports it.
"""
