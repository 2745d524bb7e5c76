"""The plainest truth there is: discs on a grid, for tests of measurements."""

import numpy as np
from jaxtyping import Int32

from plates.errors import BadRecipe


def discs(size: int, *, radius: int, spacing: int) -> Int32[np.ndarray, "height width"]:
    """Label image of whole discs on a grid, in reading order.

    Args:
        size: Height and width of the image, pixels.
        radius: Of every disc: pixels whose centre is no farther than this from the middle's.
        spacing: Between the middles of neighbours, at least 2 * radius + 2, so that none touch.

    Raises:
        BadRecipe: Discs would touch, or not one fits.

    >>> discs(5, radius=1, spacing=5)
    array([[0, 0, 0, 0, 0],
           [0, 0, 1, 0, 0],
           [0, 1, 1, 1, 0],
           [0, 0, 1, 0, 0],
           [0, 0, 0, 0, 0]], dtype=int32)
    """
    if radius < 0 or spacing < 2 * radius + 2 or size < spacing:
        raise BadRecipe(
            f"Discs of radius {radius}, {spacing} px apart in {size} px: expected a radius of 0 or "
            f"more, a spacing of at least {2 * radius + 2} px (twice the radius and a gap), and a "
            "size of at least one spacing."
        )
    y, x = np.mgrid[:size, :size]
    middle, per_row = spacing // 2, size // spacing
    inside = (y % spacing - middle) ** 2 + (x % spacing - middle) ** 2 <= radius**2
    whole = (y // spacing < per_row) & (x // spacing < per_row)
    label = y // spacing * per_row + x // spacing + 1
    return np.where(inside & whole, label, 0).astype(np.int32)
