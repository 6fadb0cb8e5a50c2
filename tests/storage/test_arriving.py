import hashlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_forge.storage.arriving import Arriving


@given(st.binary(max_size=40), st.integers(1, 9), st.randoms(use_true_random=False), st.booleans())
def test_digests_do_not_depend_on_the_order_in_which_parts_come(data, part, source, with_md5):
    numbers = list(range(-(-len(data) // part)))
    source.shuffle(numbers)
    there = set(numbers[: source.randint(0, len(numbers))])
    with tempfile.NamedTemporaryFile() as kept:
        path = Path(kept.name)
        path.write_bytes(data)
        arriving = Arriving(path, len(data), part, there, with_md5)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(arriving.read_on, [None, *(number for number in numbers if number not in there)]))
        md5 = hashlib.md5(data).hexdigest() if with_md5 else None
        assert arriving.digests() == (hashlib.sha256(data).hexdigest(), md5)


def test_a_file_with_a_part_missing_has_no_digest(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    arriving = Arriving(path, 10, 4)
    for number in (0, 2):
        arriving.read_on(number)
    with pytest.raises(ValueError, match="1 parts of 4 bytes"):
        arriving.digests()
