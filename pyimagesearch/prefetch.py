"""Work done ahead, in threads, so that the next item is there when it is wanted."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2


def map_ahead(
    function: Callable, items: Iterable, threads: int | None = None
) -> Iterator:
    """Yield `function(item)` in order, one a thread and one more made in advance.

    The threads end with the generator, also when that is closed early. The items are
    taken in the caller's own thread.

    Parameters
    ----------
    function : callable
    items : iterable
    threads : int, optional
        By default, as many as there are cores that this program may use.
    """
    threads = threads or cv2.getNumberOfCPUs()
    pending = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def read_ahead(items: Iterable, ahead: int = 2) -> Iterator:
    """Yield the items in order, up to `ahead` of them made in advance in a thread.

    The thread ends with the generator, also when that is closed early or the items
    end in an error, which is raised here.
    """
    items, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        try:
            pending = deque(thread.submit(next, items, end) for _ in range(ahead))
            while (item := pending.popleft().result()) is not end:
                pending.append(thread.submit(next, items, end))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)
            items.close()
