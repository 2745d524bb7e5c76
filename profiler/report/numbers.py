"""How numbers are written: as many digits as they deserve, and a dash where undefined."""

import math
from typing import TypeGuard

Number = float | int  # whole numbers of a table are ints
NONE = "–"
MINUS = "\N{MINUS SIGN}"


def defined(value: object) -> TypeGuard[float]:
    """Whether a table's cell holds a finite number.

    >>> [defined(x) for x in (0, 1.5, None, float("nan"), float("inf"))]
    [True, True, False, False, False]
    """
    return isinstance(value, (int, float)) and math.isfinite(value)


def number(value: Number | None, *, digits: int = 3) -> str:
    """Write a number with three significant digits, or more where it is a large integer.

    >>> [number(x) for x in (0.8614, 12.0, 1234.5, -3, 2.5e-7, 3e9, None)]
    ['0.861', '12', '1,234', '−3', '2.5e−7', '3e9', '–']
    """
    if not defined(value):
        return NONE
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e7 or size < 1e-4:
        text = _scientific(value, digits)
    else:
        decimals = max(digits - 1 - math.floor(math.log10(size)), 0)
        text = f"{value:,.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", MINUS)


def _scientific(value: Number, digits: int) -> str:
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def rounded(value: Number, span: Number) -> Number:
    """Drop the digits of a tick that do not matter beside the length of its axis.

    >>> rounded(0.00428, 24.1), rounded(1234.5678, 0.0)
    (0.0, 1234.5678)
    """
    return round(value, 2 - math.floor(math.log10(span))) if span > 0 else value


def percent(fraction: Number | None) -> str:
    """Write a fraction as a percentage.

    >>> percent(0.0512), percent(None)
    ('5.1 %', '–')
    """
    return f"{number(100 * fraction, digits=2)} %" if defined(fraction) else NONE


def count(value: Number | None, noun: str, plural: str | None = None) -> str:
    """Write a count with its noun.

    >>> count(1, "hit"), count(1200, "well"), count(0, "assay", "assays")
    ('1 hit', '1,200 wells', '0 assays')
    """
    if not defined(value):
        return f"{NONE} {plural or noun + 's'}"
    return f"{value:,.0f} {noun if value == 1 else plural or noun + 's'}"


def quantity(value: Number | None, unit: str | None) -> str:
    """Write a number with its unit.

    >>> quantity(12.34, "nM"), quantity(None, "nM")
    ('12.3 nM', '–')
    """
    return f"{number(value)} {unit}" if unit and defined(value) else number(value)


def interval(low: Number | None, high: Number | None) -> str:
    """Write an interval, open where one end is undefined, empty where both are.

    >>> interval(1, 2.5), interval(None, 3), interval(None, None)
    ('1 to 2.5', 'below 3', '')
    """
    if defined(low) and defined(high):
        return f"{number(low)} to {number(high)}"
    if defined(high):
        return f"below {number(high)}"
    return f"above {number(low)}" if defined(low) else ""


def seconds(value: Number | None) -> str:
    """Write a duration.

    >>> seconds(0.0421), seconds(75), seconds(7300)
    ('0.0421 s', '1 min 15 s', '2 h 1 min')
    """
    if not defined(value) or value < 60:
        return quantity(value, "s")
    minutes, rest = divmod(round(value), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
