"""SVG elements as escaped text: what a user typed never becomes markup."""

from collections.abc import Iterable

from markupsafe import Markup, escape


def element(name: str, *children: object, **attributes: object) -> Markup:
    """Write one SVG (or HTML) element.

    Args:
        name: Tag.
        children: Text, which is escaped, or `Markup`, which is not.
        attributes: `class_` is written `class`, `stroke_width` is written `stroke-width`;
            floats are rounded to hundredths, and those that are None are left out.

    Returns:
        The element with its end tag.

    >>> element("text", "a < b", class_="note", x=1 / 3, y=None)
    Markup('<text class="note" x="0.33">a &lt; b</text>')
    """
    # Not `Markup.format`, which is ten times slower; a plate has thousands of elements.
    written = "".join(_attribute(*item) for item in attributes.items() if item[1] is not None)
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(parts: Iterable[object]) -> Markup:
    """Concatenate pieces, escaping those that are plain text."""
    return Markup("".join(map(escape, parts)))


def points(xs: Iterable[float], ys: Iterable[float]) -> str:
    """Coordinates of a polyline.

    >>> points([0.0, 1.25], [3.0, 4.126])
    '0,3 1.25,4.13'
    """
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in zip(xs, ys, strict=True))


def _attribute(key: str, value: object) -> str:
    return f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'


def _number(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


__all__ = ["Markup", "element", "escape", "join", "points"]
