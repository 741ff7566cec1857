"""Springest's HTTP API: requests, multipart bodies, XML, paging, and the meaning of responses.

May import: documents, site, redaction, errors. Reads no database and retries nothing.
"""
