"""A small champion for which thinking pays, and how it was made."""

from pathlib import Path


def champion_path() -> Path:
    """Return the directory of the bundled champion, a Hugging Face checkpoint."""
    return Path(__file__).parent / "champion"
