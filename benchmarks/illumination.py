"""A planted vignette taken out again, and BaSiC beside BaSiCPy.

    python -m benchmarks.illumination [../shared] [--basicpy PYTHON]

The residual is what is left of the planted light: the fitted flat field over the planted one, its
standard deviation and largest distance from 1. Synthetic fields are drawn in even light, so that
it is the whole error. Real fields have light of their own: there the function fitted to the
fields with the vignette is divided by the one fitted without. PYTHON is the interpreter of an
environment with BaSiCPy 1.2, which needs a JAX of its own; it gets the same images.
"""

import argparse
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import jax
import numpy as np

from plates.decode import decode
from plates.synthetic import Phenotype, field
from plates.synthetic.camera import OFFSET, illumination
from profiler.illuminate.basic import fit_basic
from profiler.illuminate.fit import shrink, stretch
from profiler.illuminate.mean import fit_mean

GOAL = 0.02
THEIRS = """
import sys, types
import numpy as np
tuning = types.ModuleType("hyperactive"); tuning.Hyperactive = object
optimisers = types.ModuleType("hyperactive.optimizers"); optimisers.HillClimbingOptimizer = object
sys.modules.update({"hyperactive": tuning, "hyperactive.optimizers": optimisers})
from basicpy import BaSiC
import time
images = np.load(sys.argv[1])
sorting = sys.argv[3] == "sorted"
start = time.perf_counter()
model = BaSiC(get_darkfield=False, fitting_mode=sys.argv[4], sort_intensity=sorting)
model.fit(images)
np.savez(sys.argv[2], flat=model.flatfield, seconds=time.perf_counter() - start)
"""


class Texture(NamedTuple):
    """Fields without the vignette: name, [field, height, width], and grey level in the dark."""

    name: str
    fields: np.ndarray
    dark: float
    is_even: bool


def vignette(height: int, width: int, *, depth: float = 0.4) -> np.ndarray:
    """Light that falls off from a place beside the middle, mean 1."""
    y, x = (np.mgrid[:height, :width] + 0.5) / [[[height]], [[width]]]
    light = 1 - depth * ((x - 0.46) ** 2 + (y - 0.53) ** 2) / 0.5
    return light / light.mean()


def textures(data: Path | None) -> Iterator[Texture]:
    """Synthetic stains drawn in even light, then real plates."""
    size, n = 384, 192
    drawn = [field(Phenotype(n_cells=60), size=size, seed=i).images for i in range(n)]
    stack = (np.array(drawn, np.float32) - OFFSET) / illumination(size)[None, ..., None]
    for c, stain in enumerate(("DNA", "GFP", "RNA")):
        yield Texture(f"synthetic {stain}, 192 fields", stack[..., c], OFFSET, is_even=True)
    if data is None:
        return
    for name, pattern in (
        ("BBBC039 DNA, 150 fields", "bbbc039/*/images/*.png"),
        ("BBBC013 GFP, 96 fields", "bbbc013/images/Channel1-*"),
        ("BBBC013 DNA, 96 fields", "bbbc013/images/Channel2-*"),
    ):
        images = [_read(path) for path in sorted(data.glob(pattern))]
        yield Texture(name, np.array(images, np.float32), 0.0, is_even=False)


def _read(path: Path) -> np.ndarray:
    return np.asarray(decode(path.read_bytes(), path=str(path)))


def small(images: np.ndarray) -> np.ndarray:
    """Shrunk as a run shrinks them."""
    return np.stack([shrink(image[..., None])[..., 0] for image in images])


def ways(basicpy: str | None) -> dict:
    """Name -> images, less what is dark, to a flat field of their size."""

    def mean(images: np.ndarray) -> np.ndarray:
        return fit_mean(images.mean(axis=0, dtype=np.float64), degree=2)

    def basic(images: np.ndarray) -> np.ndarray:
        return stretch(fit_basic(small(images), has_dark=False).flat, images.shape[1:])

    def theirs(images: np.ndarray) -> np.ndarray:
        return stretch(run_basicpy(basicpy or "", small(images))[0], images.shape[1:])

    found = {"mean, degree 2": mean, "BaSiC": basic}
    return found | ({"BaSiCPy 1.2 (approximate, sorted)": theirs} if basicpy else {})


def run_basicpy(
    python: str, images: np.ndarray, *, mode: str = "approximate", order: str = "sorted"
):
    """Fit with BaSiCPy in its own environment, and give its flat field and seconds."""
    with TemporaryDirectory() as folder:
        given, made = Path(folder) / "images.npy", Path(folder) / "made.npz"
        np.save(given, images.astype(np.float32))
        command = [python, "-c", THEIRS, str(given), str(made), order, mode]
        subprocess.run(command, check=True, capture_output=True)
        with np.load(made) as found:
            flat = np.asarray(found["flat"], np.float64)
            return flat / flat.mean(), float(found["seconds"])


def residual(texture: Texture, fit) -> np.ndarray:
    """The fitted flat field over the planted one, mean 1."""
    planted = vignette(*texture.fields.shape[1:])
    found = fit(texture.fields * planted)
    own = np.ones_like(planted) if texture.is_even else fit(texture.fields)
    left = found / (own * planted)
    return left / left.mean()


def parity(texture: Texture, python: str) -> Iterator[str]:
    """Ours beside BaSiCPy's two programs on the same shrunk images, in turn."""
    lit = small(texture.fields * vignette(*texture.fields.shape[1:]))
    fit_basic(lit, has_dark=False)
    start = time.perf_counter()
    ours = fit_basic(lit, has_dark=False).flat
    seconds = time.perf_counter() - start
    truth = small(vignette(*texture.fields.shape[1:])[None])[0]
    for mode in ("approximate",):
        for order in ("sorted", "plain"):
            theirs, took = run_basicpy(python, lit, mode=mode, order=order)
            away = np.std(ours / theirs)
            errors = [np.std(flat / truth) for flat in (ours, theirs)]
            alike = np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]
            yield (
                f"| {texture.name} | {mode}, {order} | {away:.4f} | {alike:.4f} | {errors[0]:.4f} "
                f"| {errors[1]:.4f} | {seconds:.1f} | {took:.1f} |"
            )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shared", nargs="?", type=Path)
    parser.add_argument("--basicpy", help="Python of an environment with BaSiCPy 1.2.")
    asked = parser.parse_args()
    found = list(textures(asked.shared / "data" if asked.shared else None))
    print(f"{jax.devices()[0]}, jax {jax.__version__}\n")
    print("| texture | method | residual, sd | largest | goal sd < 2% |")
    print("|---|---|---|---|---|")
    for texture in found:
        for name, fit in ways(asked.basicpy).items():
            left = residual(texture, fit)
            sd, most = left.std(), np.abs(left - 1).max()
            reached = "reached" if sd < GOAL else "MISSED"
            print(f"| {texture.name} | {name} | {100 * sd:.2f}% | {100 * most:.2f}% | {reached} |")
        untouched = vignette(*texture.fields.shape[1:])
        print(f"| {texture.name} | none | {100 * untouched.std():.2f}% | | |")
    if asked.basicpy:
        print("\n| texture | BaSiCPy's way | sd of ours / theirs | correlation | our error, sd "
              "| theirs | our seconds | theirs |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
        for texture in found[:1] + found[3:4]:
            print("\n".join(parity(texture, asked.basicpy)))


if __name__ == "__main__":
    main()
