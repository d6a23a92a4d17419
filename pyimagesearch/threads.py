"""Work ahead of whoever asks for it, in threads."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import repeat

import cv2

MIN_AHEAD = 2  # keeps decoder and detector busy; a frame of 1080p takes 6 MB


def start(function: Callable, *arguments) -> Future:
    """Call a function in a thread that does not keep the program from ending."""
    future = Future()

    def call() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


def map_ahead(function: Callable, items: Iterable, threads: int = 0) -> Iterator:
    """Yield `function(item)` in order, computed ahead in threads: one per core.

    Items are taken in the caller's thread. The threads end with the generator.
    """
    threads = threads or cv2.getNumberOfCPUs()  # those that this process may use
    pending = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > max(threads, MIN_AHEAD):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def read_ahead(items: Iterator) -> Iterator:
    """Yield the items of a generator, which runs ahead in a thread and ends with it."""
    end = object()
    ahead = map_ahead(lambda _: next(items, end), repeat(None), threads=1)
    with closing(items), closing(ahead):
        yield from iter(lambda: next(ahead), end)
