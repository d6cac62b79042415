"""Measurements: scores, intervals, latency, memory, and their reports."""
