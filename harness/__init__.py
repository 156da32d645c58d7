"""Real server processes and load for them: what tests, benchmarks and the demo share."""
