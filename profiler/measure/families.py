"""The feature families that come with the engine, by the names that a recipe uses."""

from profiler.measure.correlation.pearson import correlation
from profiler.measure.granularity.spectrum import granularity
from profiler.measure.image.intensity import IMAGE_INTENSITY
from profiler.measure.image.quality import image_quality
from profiler.measure.image.threshold import threshold
from profiler.measure.intensity import INTENSITY
from profiler.measure.location import LOCATION
from profiler.measure.neighbors import neighbors
from profiler.measure.plan import Entry
from profiler.measure.radial.rings import radial_distribution
from profiler.measure.relations import RELATIONS
from profiler.measure.shape.area import SHAPE
from profiler.measure.shape.hull import HULL
from profiler.measure.shape.moments import MOMENTS
from profiler.measure.shape.radius import RADIUS
from profiler.measure.shape.zernike import RADIAL_ZERNIKE, ZERNIKE
from profiler.measure.texture.haralick import texture
from profiler.measure.translocation import translocation

# A family, several, or a function of options that returns them.
FAMILIES: dict[str, Entry] = {
    "AreaShape": (SHAPE, RADIUS, HULL, ZERNIKE, MOMENTS),
    "Location": LOCATION,
    "Intensity": INTENSITY,
    "Correlation": correlation,
    "Granularity": granularity,
    "Neighbors": neighbors,
    "RadialDistribution": radial_distribution,
    "RadialZernike": RADIAL_ZERNIKE,
    "Relations": RELATIONS,
    "Texture": texture,
    "ImageIntensity": IMAGE_INTENSITY,
    "ImageQuality": image_quality,
    "Threshold": threshold,
    "Translocation": translocation,
}
