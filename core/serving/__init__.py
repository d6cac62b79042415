"""The HTTP server: batches, questions, answers, counters."""
