"""Springest's HTTP API: requests, multipart bodies, XML, paging, and what each response means.

May import: documents, site, redaction, errors. Reads no database and retries nothing.
"""
