import subprocess
import sys
import threading
from contextlib import closing
from itertools import count

from pyimagesearch.threads import map_ahead, read_ahead, start

import cv2
import pytest


def test_read_ahead_keeps_order_and_reports_errors():
    def broken():
        yield from range(10)
        raise ValueError("the eleventh")

    items = read_ahead(broken())
    assert [next(items) for _ in range(10)] == list(range(10))
    with pytest.raises(ValueError, match="the eleventh"):
        next(items)


def test_closing_read_ahead_early_ends_its_thread_and_closes_the_items():
    closed = threading.Event()

    def endless():
        try:
            yield from count()
        finally:
            closed.set()

    before = threading.active_count()
    items = read_ahead(endless())
    assert next(items) == 0
    items.close()
    assert closed.is_set()
    assert threading.active_count() == before


@pytest.fixture
def cores(monkeypatch):
    """Set the number of cores that this process may use."""

    def set_cores(number):
        monkeypatch.setattr(cv2, "getNumberOfCPUs", lambda: number)

    return set_cores


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n", [0, 1, 50])
def test_mapped_items_come_in_order(n, threads, cores):
    cores(threads)
    squares = map_ahead(lambda item: item * item, range(n))
    assert list(squares) == [item * item for item in range(n)]


def test_items_are_taken_in_the_callers_thread_and_mapped_in_others():
    own, takers, mappers = threading.get_ident(), set(), set()

    def items():
        for item in range(20):
            takers.add(threading.get_ident())
            yield item

    for _ in map_ahead(lambda _: mappers.add(threading.get_ident()), items()):
        pass
    assert takers == {own}
    assert own not in mappers


def test_no_more_is_mapped_ahead_than_there_are_cores(cores):
    cores(2)
    taken = []
    items = map(lambda item: taken.append(item) or item, count())
    with closing(map_ahead(lambda item: item, items)) as mapped:
        for item in range(10):
            assert next(mapped) == item
            assert len(taken) == item + 3


def test_a_mapped_items_error_is_raised_in_its_place():
    mapped = map_ahead(lambda item: 1 // (item - 3), range(10))
    assert [next(mapped) for _ in range(3)] == [-1, -1, -1]
    with pytest.raises(ZeroDivisionError):
        next(mapped)


def test_closing_a_map_early_ends_its_threads(cores):
    cores(3)
    before = threading.active_count()
    mapped = map_ahead(lambda item: item, count())
    assert next(mapped) == 0
    mapped.close()
    assert threading.active_count() == before


def test_what_a_thread_returns_or_raises_arrives():
    assert start(max, 1, 2).result() == 2
    with pytest.raises(ZeroDivisionError):
        start(lambda: 1 // 0).result()


def test_a_thread_that_hangs_does_not_keep_the_program_from_ending():
    program = "import threading; from pyimagesearch.threads import start; "
    program += "start(threading.Event().wait); print('done')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.stdout.split() == [b"done"]
