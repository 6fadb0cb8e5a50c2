"""Laws of the lease, the same in a directory, in a bucket and on the hub."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent_forge.errors import LeaseLost
from agent_forge.storage.lease import Lease, leased
from agent_forge.storage.publication import publication


@pytest.fixture(params=["directory", "bucket", "hub"])
def place(request, tmp_path):
    """Where one lease is kept."""
    if request.param == "hub":
        request.getfixturevalue("hub").commit("org/models", {".gitattributes": b""})
        return publication("hf://org/models").lease("0" * 64)
    root = request.getfixturevalue("bucket")[1] if request.param == "bucket" else str(tmp_path)
    return publication(root).lease("0" * 64)


def never():
    return False


@pytest.mark.parametrize("first", [None, Lease(holder="first", term=1)])
def test_of_many_that_swap_what_they_saw_one_succeeds(place, first):
    seen = place.swap(first, None) if first else None
    leases = [Lease(holder=str(number), term=1) for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        tags = list(pool.map(lambda lease: place.swap(lease, seen), leases))
    (won,) = [(lease, tag) for lease, tag in zip(leases, tags, strict=True) if tag is not None]
    assert place.read() == won


def test_one_works_the_others_end_with_what_became_of_it(place):
    done, worked = threading.Event(), []

    def work(number):
        with leased(place, done.is_set, seconds=5) as held:
            if held is not None:
                worked.append(number)
                time.sleep(0.1)
                held.check()
                done.set()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(worked) == 1 and place.read()[0].released


def test_the_lease_of_a_dead_holder_is_taken_over_with_a_higher_term(place):
    place.swap(Lease(holder="dead", who="process 1", term=7), None)
    told = []
    with leased(place, never, seconds=0.3, waiting=told.append) as held:
        held.check()
        assert place.read()[0].term == 8
    assert told == ["process 1"]


def test_a_living_holder_keeps_it_however_long_it_works(place):
    with leased(place, never, seconds=0.4) as held, ThreadPoolExecutor(1) as pool:
        done = threading.Event()

        def wait():
            with leased(place, done.is_set, seconds=0.4) as other:
                return other

        other = pool.submit(wait)
        time.sleep(1.2)
        assert not other.done()
        held.check()
        done.set()
        assert other.result() is None


def test_who_was_overtaken_finds_out_and_leaves_the_lease_to_its_successor(place):
    with pytest.raises(LeaseLost, match="took over"), leased(place, never, seconds=60) as held:
        there, tag = place.read()
        successor = Lease(holder="successor", term=there.term + 1)
        assert place.swap(successor, tag)
        held.check()
    assert place.read()[0] == successor


def test_a_write_whose_answer_was_lost_counts(place, monkeypatch):
    real = type(place).swap

    def forgets(self, lease, seen):
        real(self, lease, seen)

    monkeypatch.setattr(type(place), "swap", forgets)
    with leased(place, never, seconds=60) as held:
        held.check()


def test_work_that_ended_between_two_looks_is_not_done_again(place):
    looks = iter([False, True])
    with leased(place, lambda: next(looks), seconds=60) as held:
        assert held is None
    assert place.read()[0].released
