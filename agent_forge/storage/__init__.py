"""Where files come from and go to: digests, atomic writes, references and publication."""
