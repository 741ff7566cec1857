"""One rate limit for every process that uses an API key: GCRA in the warehouse, on the database's clock.

May import: db, site and below.
"""
