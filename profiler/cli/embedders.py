"""Encoders of cells that others trained, made ready for runs."""

from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.talk import talk


def imagenet(
    out: Annotated[Path, typer.Option("--out", "-o", help="Encoder to write, .safetensors.")],
    side: Annotated[
        int, typer.Option(min=32, help="Side of the crops it is to see, a multiple of 32.")
    ] = 64,
) -> None:
    """Write EfficientNet-Lite0 as trained on ImageNet, from its package on PyPI, as an encoder."""
    from profiler.embed.imagenet.efficientnet import convert

    card = convert(out, side=side)
    talk(f"{out}: {card.about['data']}. sha256 {card.sha256[:16]}")
