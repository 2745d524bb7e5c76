"""Ctrl-C and SIGTERM, heard whatever the program is doing.

Python raises an interrupt wherever it happens to be, and drops it inside a destructor or a callback
of the garbage collector, of which JAX has one. So a signal leaves a mark as well, and the mark is
looked at after every event.
"""

import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SLICE_S = 0.2  # between two looks while asleep
BASE = 128  # shells add the signal's number to it: 130 after Ctrl-C, 143 after SIGTERM


@dataclass
class StopSign:
    """Whether a signal came, and which: 0 is none."""

    signal: int = 0

    def set(self, number: int) -> None:
        """Leave the mark."""
        self.signal = number

    def is_set(self) -> bool:
        """Whether a signal came."""
        return bool(self.signal)

    def sleep(self, seconds: float) -> None:
        """Sleep, but not on when a signal comes."""
        # Not by threading.Event: a handler that sets one can wait for its own thread for ever.
        until = time.monotonic() + seconds
        while not self.is_set() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, SLICE_S))

    @property
    def exit_code(self) -> int:
        """As shells have it: 130 after Ctrl-C, 143 after SIGTERM."""
        return BASE + self.signal


@contextmanager
def stop_signals(*, at_once: bool) -> Iterator[StopSign]:
    """Mark Ctrl-C and SIGTERM for the length of a block.

    Args:
        at_once: Whether the first signal raises too, wherever the program is; the second does
            always, for who cannot wait.

    Raises:
        KeyboardInterrupt: A signal came, as said.
    """
    sign = StopSign()

    def heard(number: int, _: object) -> None:
        is_first = not sign.is_set()
        sign.set(number)
        if at_once or not is_first:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield sign  # signals reach the main thread only
        return
    earlier = {number: signal.signal(number, heard) for number in SIGNALS}
    try:
        yield sign
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def heeding(events: Iterator[T], sign: StopSign) -> Iterator[T]:
    """Pass events on until a signal has come, even one whose exception was dropped or disguised.

    Raises:
        KeyboardInterrupt: After the first event that follows a signal, or instead of an error
            that follows one: compiled code turns an interrupt in its callbacks into errors of
            its own.
    """
    try:
        for event in events:
            yield event
            if sign.is_set():
                raise KeyboardInterrupt
    except Exception as error:
        if sign.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        if isinstance(events, Generator):
            events.close()
