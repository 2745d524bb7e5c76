"""Features known to be noisy in Cell Painting."""

from itertools import permutations

STAINS = ("AGP", "DNA", "ER", "Mito", "RNA")

# Way (2019), "Blacklist Features - Cell Profiler", doi 10.6084/m9.figshare.10255811, which
# pycytominer (BSD-3-Clause) ships as its default: 55 features of nuclei.
CELL_PAINTING = (
    *(f"Nuclei_Correlation_Manders_{a}_{b}" for a, b in permutations(STAINS, 2)),
    *(f"Nuclei_Correlation_RWC_{a}_{b}" for a, b in permutations(STAINS, 2)),
    *(f"Nuclei_Granularity_{step}_{stain}" for step in (14, 15, 16) for stain in STAINS),
)

BLOCKLISTS = {"cell_painting": CELL_PAINTING}
