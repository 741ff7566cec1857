"""Opens certificate documents under allow-listed roots, and refuses files that cannot be a certificate.

May import: errors, setting_values. A separate process (``inspection``) opens PDFs.
"""
