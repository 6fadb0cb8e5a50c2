"""Making new models out of old ones: merging models of one architecture."""
