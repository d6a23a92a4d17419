import threading
from contextlib import closing
from itertools import count

from pyimagesearch.prefetch import map_ahead, read_ahead

import pytest


def test_read_ahead_keeps_order_and_reports_errors():
    def broken():
        yield from range(10)
        raise ValueError("the eleventh")

    items = read_ahead(broken())
    assert [next(items) for _ in range(10)] == list(range(10))
    with pytest.raises(ValueError, match="the eleventh"):
        next(items)


def test_the_thread_ends_and_the_items_are_closed_when_reading_stops_early():
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


@pytest.mark.parametrize("threads", [None, 1, 3])
@pytest.mark.parametrize("n", [0, 1, 50])
def test_mapped_items_come_in_order(n, threads):
    squares = map_ahead(lambda item: item * item, range(n), threads)
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


def test_no_more_is_mapped_ahead_than_there_are_threads():
    taken = []
    items = map(lambda item: taken.append(item) or item, count())
    with closing(map_ahead(lambda item: item, items, threads=2)) as mapped:
        for item in range(10):
            assert next(mapped) == item
            assert len(taken) == item + 3


def test_an_error_comes_in_its_items_place():
    mapped = map_ahead(lambda item: 1 // (item - 3), range(10), threads=2)
    assert [next(mapped) for _ in range(3)] == [-1, -1, -1]
    with pytest.raises(ZeroDivisionError):
        next(mapped)


def test_the_threads_of_a_map_end_when_it_is_closed_early():
    before = threading.active_count()
    mapped = map_ahead(lambda item: item, count(), threads=3)
    assert next(mapped) == 0
    mapped.close()
    assert threading.active_count() == before
