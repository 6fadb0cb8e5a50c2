"""Question sets: where they come from, how they are split, and what leaks between the splits."""
