"""Opens PDFs in a separate process, so that a hostile file can cost neither memory, time nor the worker."""
