"""What is measured side by side; each is run as a process of its own and prints one line of JSON."""
