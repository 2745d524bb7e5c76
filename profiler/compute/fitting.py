"""Batches as large as the device's memory allows, and no larger."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

from profiler.compute.devices import OutOfMemory, place
from profiler.compute.field import FieldProgram, Share
from profiler.throughput.clock import Span


@dataclass
class Fitting:
    """Computes batches whole, or in pieces once one of them was too large.

    Attributes:
        program: What computes.
        most: Fields in a piece; halved whenever that many do not fit, and never raised again.
        span: What times the work.
    """

    program: FieldProgram
    most: int
    span: Span = nullcontext

    def place(self, images: Shaped[np.ndarray, "batch ..."]) -> Any:
        """Send a batch to the device early, unless it is to go in pieces."""
        return place(images) if len(images) <= self.most else None

    def compute(
        self, images: Shaped[np.ndarray, "batch ..."], *, placed: Any = None, fields: int
    ) -> list[Share]:
        """Compute a batch.

        Args:
            images: On the host.
            placed: The same on the device, if they are there.
            fields: How many of them are real; the others follow, and are left out of pieces.

        Raises:
            OutOfMemory: Not even a single field fits.
        """
        while True:
            try:
                if len(images) <= self.most:
                    given = images if placed is None else placed
                    return self.program.compute(given, span=self.span)
                return self._in_pieces(images[:fields])
            except OutOfMemory:
                if self.most == 1:
                    raise
                self.most //= 2
                placed = None  # what lies there takes room that the pieces need

    def _in_pieces(self, images: Shaped[np.ndarray, "batch ..."]) -> list[Share]:
        shares = []
        for start in range(0, len(images), self.most):
            piece = images[start : start + self.most]
            missing = self.most - len(piece)  # one shape, so that one program serves all
            padded = np.concatenate([piece, np.zeros((missing, *piece.shape[1:]), piece.dtype)])
            shares += self.program.compute(padded if missing else piece, span=self.span)
        return shares
