"""StarDist's or Cellpose's half of `benchmarks.segment_speed`; runs in an environment of its own.

    PYTHON benchmarks/segment_side.py stardist|cellpose THREADS

Holds its networks and segments a field once for every JSON line that it is sent, answering with the
seconds that took. Where pretrained weights cannot be had, a network of the same size with random
weights predicts, and the decoder works on the ideal prediction of the true nuclei, made by the
package's own functions before the clock starts: then the time is theirs, and the accuracy is not.
"""

import contextlib
import importlib.metadata
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from stardist_side import NAME, SIZE, THRESHOLDS, is_there

SURE = 6.0  # Cellpose's logit of a pixel that is certainly a cell's, or certainly not
STEPS = 200  # of its dynamics, where a field is not scaled


class Method(NamedTuple):
    """One network and its decoder.

    Attributes:
        packages: That it comes from, with versions.
        is_pretrained: Whether its weights are its authors'.
        network: From a field and the diameter of its nuclei, in pixels, to a prediction.
        decode: From the field's shape, a prediction and the diameter to labels.
        ideal: From true labels to the prediction that a perfect network would make.
    """

    packages: str
    is_pretrained: bool
    network: Callable[[np.ndarray, float], Any]
    decode: Callable[[tuple[int, int], Any, float], np.ndarray]
    ideal: Callable[[np.ndarray], Any]


def stardist() -> dict[str, Method]:
    """The network for fluorescent nuclei, seen as they are."""
    from csbdeep.utils import normalize
    from stardist import edt_prob, star_dist
    from stardist.models import Config2D, StarDist2D

    is_pretrained = is_there()
    model = StarDist2D.from_pretrained(NAME) if is_pretrained else None
    model = model or StarDist2D(Config2D(n_channel_in=1, **SIZE), name=None, basedir=None)
    thresholds = {} if is_pretrained else THRESHOLDS

    def network(field: np.ndarray, _: float) -> Any:
        return model.predict(normalize(field, 1, 99.8))

    def decode(shape: tuple[int, int], maps: Any, _: float) -> np.ndarray:
        return model._instances_from_prediction(shape, *maps, **thresholds)[0]

    def ideal(truth: np.ndarray) -> Any:
        return edt_prob(truth)[::2, ::2], star_dist(truth, SIZE["n_rays"], grid=SIZE["grid"])

    packages = versions("stardist", "tensorflow-cpu")
    return {f"StarDist {NAME}": Method(packages, is_pretrained, network, decode, ideal)}


def cellpose() -> dict[str, Method]:
    """The generalist, which sees fields as they are, and the one that sees nuclei 17 px wide."""
    return {f"Cellpose {name}": _cellpose(name, width) for name, width in WIDTHS.items()}


WIDTHS = {"cyto3": None, "nuclei": 17.0}


def _cellpose(name: str, width_px: float | None) -> Method:
    import torch
    from cellpose import dynamics, transforms
    from cellpose.models import CellposeModel, normalize_default

    torch.set_num_threads(int(sys.argv[2]))
    try:
        model, is_pretrained = CellposeModel(gpu=False, model_type=name), True
    except OSError:  # no network, no weights
        model, is_pretrained = CellposeModel(gpu=False, pretrained_model=None), False

    def scale(diameter_px: float) -> float:
        return width_px / diameter_px if width_px else 1.0

    def network(field: np.ndarray, diameter_px: float) -> Any:
        image = transforms.convert_image(field.astype(np.float32), [0, 0], nchan=2)
        shown = transforms.normalize_img(image[None], **normalize_default)
        return model._run_net(shown, rescale=scale(diameter_px))[:2]

    def decode(shape: tuple[int, int], maps: Any, diameter_px: float) -> np.ndarray:
        return model._compute_masks((1, *shape, 2), *maps, niter=STEPS / scale(diameter_px))

    def ideal(truth: np.ndarray) -> Any:
        flows = dynamics.labels_to_flows([truth.copy()], device=torch.device("cpu"))[0]
        return 5 * flows[2:, None], np.where(truth > 0, SURE, -SURE).astype(np.float32)[None]

    return Method(versions("cellpose", "torch"), is_pretrained, network, decode, ideal)


def versions(*packages: str) -> str:
    """Names and versions, as one text."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


METHODS = {"stardist": stardist, "cellpose": cellpose}


@cache
def ready(method: Method, image: str, truth: str) -> tuple[np.ndarray, Any]:
    """A field, and its ideal prediction where a random network predicts."""
    field = np.load(image)
    return field, None if method.is_pretrained else method.ideal(np.load(truth))


def segment(
    method: Method, *, image: str, truth: str, diameter_px: float, out: str
) -> dict[str, float]:
    """Segment one field, and say what it took; the labels go to a file after that."""
    field, ideal = ready(method, image, truth)
    cpu, start = time.process_time(), time.perf_counter()
    maps = method.network(field, diameter_px)
    between = time.perf_counter()
    labels = method.decode(field.shape, maps if ideal is None else ideal, diameter_px)
    end = time.perf_counter()
    taken = {"network": between - start, "decoding": end - between, "total": end - start}
    taken |= {"cpu": time.process_time() - cpu}
    np.save(out, labels.astype(np.int32))
    return taken


def main() -> None:
    """Answer lines until there are no more; what the packages print goes to stderr."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3"}
    warnings.filterwarnings("ignore")  # theirs, of what is deprecated
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        methods = METHODS[sys.argv[1]]()
        known = {name: (method.packages, method.is_pretrained) for name, method in methods.items()}
        print(json.dumps(known), file=answers, flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            taken = segment(methods[request.pop("who")], **request)
            print(json.dumps(taken), file=answers, flush=True)


if __name__ == "__main__":
    main()
