"""The run report: one self-contained HTML file, rendered from a run's records."""
