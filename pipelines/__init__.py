"""The pipeline: its graph, what it is compiled for, and how runs are submitted and scheduled."""
