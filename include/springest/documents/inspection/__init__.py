"""Opens PDFs in a separate process, so that a hostile file cannot harm the worker."""
