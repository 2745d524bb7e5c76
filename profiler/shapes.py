"""The axes every stage shares. Read this file first.

batch          fields processed together; the last batch is padded
height, width  pixels, origin at the top left
channel        stains, in the order of the recipe
cell           label - 1, `max_cells` long; rows of absent labels are NaN
"""

from typing import TypeAlias

from jaxtyping import Array, Bool, Float, Int

Images: TypeAlias = Float[Array, "batch height width channel"]
LabelImages: TypeAlias = Int[Array, "batch height width"]
Image: TypeAlias = Float[Array, "height width channel"]
Plane: TypeAlias = Float[Array, "height width"]
Stains: TypeAlias = Float[Array, "height width *channel"]  # one plane, or one for each stain
Mask: TypeAlias = Bool[Array, "height width"]
Labels: TypeAlias = Int[Array, "height width"]
PerCell: TypeAlias = Float[Array, " cell"]
