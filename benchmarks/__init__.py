"""One script per question; each asserts its answer and prints a Markdown table."""
