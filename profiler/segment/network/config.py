"""Which network: every architecture of the family is one line of this."""

from dataclasses import dataclass


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
