"""Where a run's figures go besides its report: one file per service, behind the protocol in `protocol.py`."""
