"""StarDist's half of `benchmarks.night`; runs in an environment of its own, without this package.

    PYTHON benchmarks/stardist_side.py JOB.json

The job names DNA planes, their true label images and where the labels that are found go. Where
the pretrained weights cannot be had, a network of the same size with random weights predicts, and
its non-maximum suppression works on the ideal prediction of the true nuclei, made before the clock
starts: then the time is StarDist's, and the accuracy is not. Prints one JSON line.
"""

import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

NAME = "2D_versatile_fluo"
SIZE = {"n_rays": 32, "grid": (2, 2), "unet_n_depth": 3, "unet_n_filter_base": 32}
THRESHOLDS = {"prob_thresh": 0.479, "nms_thresh": 0.3}


def load(job: dict) -> None:
    """Build the network in this process, on one thread, and warm it up."""
    import numpy as np
    import tensorflow as tf
    import tifffile
    from csbdeep.utils import normalize
    from stardist import edt_prob, star_dist
    from stardist.models import Config2D, StarDist2D

    global run, ideal
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = StarDist2D.from_pretrained(NAME) if job["pretrained"] else None
    model = model or StarDist2D(Config2D(n_channel_in=1, **SIZE), name=None, basedir=None)

    def ideal(truth: str) -> tuple:
        labels = np.load(truth)
        return edt_prob(labels)[::2, ::2], star_dist(labels, SIZE["n_rays"], grid=SIZE["grid"])

    def run(field: dict, prediction: tuple | None) -> int:
        image = normalize(tifffile.imread(field["dna"]), 1, 99.8)
        if prediction is None:
            labels, _ = model.predict_instances(image)
        else:
            model.predict(image)
            labels, _ = model._instances_from_prediction(image.shape, *prediction, **THRESHOLDS)
        np.save(field["out"], labels.astype(np.int32))
        return int(labels.max())

    first = job["fields"][0]
    run(first, None if job["pretrained"] else ideal(first["truth"]))


def ready(field: dict) -> dict:
    """Make what must not be timed."""
    return field | {"prediction": ideal(field["truth"])}


def found(field: dict) -> int:
    """Segment one field: read, normalise, predict, suppress, write; returns its nuclei."""
    return run(field, field.get("prediction"))


def main() -> None:
    """Segment the job's fields in as many processes as it says."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}  # its processes' too
    job = json.loads(Path(sys.argv[1]).read_text())
    job["pretrained"] = is_there()
    context = multiprocessing.get_context("spawn")
    workers = job["processes"]
    with ProcessPoolExecutor(workers, context, initializer=load, initargs=(job,)) as pool:
        fields = job["fields"]
        list(pool.map(time.sleep, [1.0] * workers))  # all of them load
        if not job["pretrained"]:
            fields = list(pool.map(ready, fields))
        start = time.perf_counter()
        nuclei = list(pool.map(found, fields))
        seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "nuclei": nuclei, "pretrained": job["pretrained"]}))


def is_there() -> bool:
    """Whether the pretrained weights are at hand or can be fetched."""
    from stardist.models import StarDist2D

    try:
        StarDist2D.from_pretrained(NAME)
    except Exception:
        return False
    return True


if __name__ == "__main__":
    main()
