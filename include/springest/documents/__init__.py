"""Opens certificate documents under allow-listed roots, and refuses what cannot be a certificate.

May import: errors, setting_values. PDFs are opened in a process of their own (``inspection``).
"""
