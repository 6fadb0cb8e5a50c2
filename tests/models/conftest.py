"""Makes `tiny` importable: `from tiny import tiny_champion`."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

# Tiny models gain nothing from threads and lose time on machines that run tests in parallel.
torch.set_num_threads(1)
