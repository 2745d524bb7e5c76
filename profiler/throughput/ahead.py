"""Work done in a thread of its own, so that whoever waits for it waits less."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

THREAD_NAME = "profiler-ahead"


def ahead(items: Iterable[T], *, most: int = 1) -> Generator[T, None, None]:
    """Draw from an iterable in a thread, a few items before they are asked for.

    Args:
        items: What is drawn from, by one thread at a time; closed at the end if it can be.
        most: Items that may be ready and waiting, 1 or more.

    Returns:
        A generator of the same items in the same order; an error of theirs is raised where
        its item would have come. Closing it ends the thread.
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix=THREAD_NAME) as pool:
        waiting = deque(pool.submit(next, iterator, end) for _ in range(most))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, iterator, end))
                yield item  # type: ignore[misc]  # the end is not among them
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            with suppress(AttributeError):
                iterator.close()  # type: ignore[attr-defined]  # generators have it


def behind(
    items: Iterable[T], finish: Callable[[T], U], *, most: int = 2
) -> Generator[U, None, None]:
    """Finish items in a thread, in their order, while the next ones are being made.

    Args:
        items: What is made in the caller's thread.
        finish: What remains to be done with each.
        most: Items that may wait to be finished before no more are made, 1 or more.

    Returns:
        A generator of what `finish` returns, each as soon as it is known to be done. An error
        of `finish` is raised in the caller's thread, at the latest at the end; items after
        it are not finished. Closing the generator early finishes the item at hand alone.
    """
    waiting: deque[Future[U]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix=THREAD_NAME) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(finish, item))
                while waiting and (len(waiting) > most or waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
