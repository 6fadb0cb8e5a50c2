"""Makes `tiny` importable here too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "models"))

import pytest


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A small evolution that has not been run."""
    from small_evolution import SmallEvolution, noisy_copies

    root = tmp_path_factory.mktemp("evolution")
    return SmallEvolution(root, tuple(noisy_copies(root)))
