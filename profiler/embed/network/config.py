"""Which encoder, and what it is to look at: every model of the room is one line of this."""

from dataclasses import dataclass

from profiler.embed.crops import CropConfig


@dataclass(frozen=True)
class EncoderConfig:
    """What an encoder is made of.

    Attributes:
        kind: The backbone, of `build.BACKBONES`.
        widths: Features at each level; every level of a ResNet after the first halves the
            resolution, a ViT has one. An EfficientNet has a width more before the levels, its
            stem's, and one after.
        blocks: Blocks at each level.
        norm: How activations are kept in range, of `norms.NORMS`. A ViT has layer norms.
        dropout: Share of the pooled features that a training step leaves out.
        scale: How intensities are shown to it, of `intensity.SCALES`.
        stains: What is made of the stains' vectors, of `encoder.POOLS`.
        patch_px: Pixels of a crop, each way, for one of a ResNet's first map: a power of two.
            Other backbones have their own.
    """

    kind: str = "resnet"
    widths: tuple[int, ...] = (16, 48, 96, 192)
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    norm: str = "batch"
    dropout: float = 0.0
    scale: str = "both"
    stains: str = "concatenate"
    patch_px: int = 2


@dataclass(frozen=True)
class ModelConfig:
    """A whole model: crops in, vectors and perhaps classes out.

    Attributes:
        encoder: Its encoder.
        crops: What it was shown.
        stains: Channels in the order it takes them; empty if it serves any, one at a time.
        classes: What it tells apart, in the order of its outputs; empty for an encoder alone.
    """

    encoder: EncoderConfig = EncoderConfig()
    crops: CropConfig = CropConfig()
    stains: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Length of a cell's vector."""
        together = self.encoder.stains == "mean"
        return self.encoder.widths[-1] * (1 if together else max(1, len(self.stains)))

    @property
    def sees_one(self) -> bool:
        """Whether it takes any stain, but one at a time: its classes hang on one stain's vector."""
        is_bag = self.encoder.stains == "concatenate"
        return bool(self.classes) and is_bag and not self.stains
