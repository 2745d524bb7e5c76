"""Which network: every architecture of the family is one line of this."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plates.errors import BadModel


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is made of.

    Attributes:
        channels: Planes it looks at.
        widths: Features at each level; every level halves the resolution.
        block: What each level convolves with, of `blocks.BLOCKS`.
        norm: How its activations are kept in range, of `norms.NORMS`.
        dropout: Share of the encoder's features that a training step leaves out.
        neck: How the levels come together again, of `build.NECKS`.
        head: What is predicted of every pixel, and how that becomes nuclei, of `heads.HEADS`.
    """

    channels: int = 1
    widths: tuple[int, ...] = (16, 32, 64, 128, 128)
    block: str = "plain"
    norm: str = "batch"
    dropout: float = 0.0
    neck: str = "unet"
    head: str = "watershed"

    @property
    def stride(self) -> int:
        """What heights and widths must be multiples of, in pixels."""
        return 2 ** (len(self.widths) - 1)


def check_fields(fields: Mapping[str, Any]) -> None:
    """See that the fields of a configuration can be, as read from a file or set by hand.

    Args:
        fields: Those of `NetworkConfig` that are given.

    Raises:
        BadModel: One is of another type, or out of range.
    """
    for name, (is_good, expected) in FIELDS.items():
        if name in fields and not is_good(fields[name]):
            raise BadModel(f"{name} is {fields[name]!r}; expected {expected}")


def _is_count(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and found >= 1


def _are_counts(found: Any) -> bool:
    return isinstance(found, list | tuple) and len(found) > 0 and all(map(_is_count, found))


def _is_share(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found < 1


WORD = (lambda found: isinstance(found, str), "a word")
FIELDS = {
    "channels": (_is_count, "a whole number from 1"),
    "widths": (_are_counts, "a list of whole numbers from 1"),
    "dropout": (_is_share, "a number from 0 to below 1"),
    **dict.fromkeys(("block", "norm", "neck", "head"), WORD),
}
