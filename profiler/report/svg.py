"""SVG elements as escaped text: what a user typed never becomes markup."""

from markupsafe import Markup, escape


def element(name: str, *children: object, **attributes: object) -> Markup:
    """Write one SVG (or HTML) element.

    Args:
        name: Tag.
        children: Text, which is escaped, or `Markup`, which is not.
        attributes: `class_` is written `class`, `stroke_width` is written `stroke-width`;
            floats are rounded to hundredths, and those that are None are left out.

    Returns:
        The element; empty ones close themselves only where they have no children.

    >>> element("text", "a < b", class_="note", x=1 / 3, y=None)
    Markup('<text class="note" x="0.33">a &lt; b</text>')
    """
    written = (_attribute(key, value) for key, value in attributes.items() if value is not None)
    start = Markup("").join(written)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), start, join(children))


def join(parts) -> Markup:
    """Concatenate pieces, escaping those that are plain text."""
    return Markup("").join(parts)


def points(xs, ys) -> str:
    """Coordinates of a polyline.

    >>> points([0, 1.25], [3, 4.126])
    '0,3 1.25,4.13'
    """
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in zip(xs, ys, strict=True))


def _attribute(key: str, value: object) -> Markup:
    name = key.rstrip("_").replace("_", "-")
    return Markup(' {}="{}"').format(Markup(name), _number(value))


def _number(value: object) -> object:
    return f"{round(value, 2):g}" if isinstance(value, float) else value


__all__ = ["Markup", "element", "escape", "join", "points"]
