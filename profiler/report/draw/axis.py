"""From data to pixels along one axis, and where its ticks go."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from profiler.report.numbers import Number


class Axis(NamedTuple):
    """A straight or logarithmic map from values to pixels.

    Attributes:
        low: Value at the pixel `start`.
        high: Value at the pixel `end`.
        start: Pixel; larger than `end` where the axis points up.
        end: Pixel.
        is_log: Whether equal ratios, not equal differences, are equally long.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: Number) -> float:
        """Pixel of a value.

        >>> Axis(1, 100, 0, 10, is_log=True)(10)
        5.0
        """
        low, high = self._scaled(self.low), self._scaled(self.high)
        fraction = (self._scaled(value) - low) / (high - low)
        return self.start + fraction * (self.end - self.start)

    def _scaled(self, value: Number) -> Number:
        return math.log10(value) if self.is_log else value

    def ticks(self) -> list[float]:
        """Round values inside the axis, ascending."""
        find = log_ticks if self.is_log else linear_ticks
        return find(self.low, self.high)


def linear_axis(values: Sequence[Number], *, start: Number, end: Number) -> Axis:
    """Axis that holds all values with a twentieth of their range to spare at either end."""
    low, high = min(values), max(values)
    spare = (high - low) / 20 or abs(high) / 10 or 1.0
    return Axis(low - spare, high + spare, start, end)


def log_axis(values: Sequence[Number], *, start: Number, end: Number) -> Axis:
    """Logarithmic axis that holds all values, which are positive, with some to spare."""
    low, high = min(values), max(values)
    spare = (high / low) ** 0.05 if high > low else 10**0.5
    return Axis(low / spare, high * spare, start, end, is_log=True)


def linear_ticks(low: Number, high: Number, *, target: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, about `target` of them.

    >>> linear_ticks(0.03, 1.07)
    [0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / target
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.6)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def log_ticks(low: Number, high: Number, *, target: int = 6) -> list[float]:
    """Powers of ten, every second or third one where they crowd, 1-2-5 where they are too few.

    >>> log_ticks(0.7, 300), log_ticks(4, 60)
    ([1.0, 10.0, 100.0], [5.0, 10.0, 20.0, 50.0])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = [_power(1, k) for k in range(first, last + 1) if low <= _power(1, k) <= high]
    if len(decades) >= 3:
        return decades[:: math.ceil(len(decades) / target)]
    fine = [_power(m, k) for k in range(first, last + 1) for m in (1, 2, 5)]
    return [value for value in fine if low <= value <= high]


def _power(factor: int, exponent: int) -> float:
    return float(f"{factor}e{exponent}")
