"""What passes from files to the network: fields, windows cut from them, batches of crops."""

from typing import Any, NamedTuple

import numpy as np

from profiler.segment.prediction import Prediction


class Field(NamedTuple):
    """One labelled image, ready to be cut. Half floats and bytes: a whole screen must fit.

    Attributes:
        name: Of the image, without its ending.
        plane: Normalised stain, [height, width] float16.
        foreground: Inside any nucleus, [height, width] bool.
        distance: To the own edge over its maximum in that nucleus, 0 to 255, uint8.
        weight: Of a pixel in the loss, uint8: 0 is ignored.
        centres: Of the nuclei, [nucleus, 2] rows and columns, float32.
        scale: Factor that brings the nuclei to the training diameter; at most one pass of
            shrinking was done already, so this is never below 1.
    """

    name: str
    plane: np.ndarray
    foreground: np.ndarray
    distance: np.ndarray
    weight: np.ndarray
    centres: np.ndarray
    scale: float


class Windows(NamedTuple):
    """Pieces of fields, larger than the crops that are turned and scaled out of them.

    Attributes:
        plane: [batch, side, side] float16.
        foreground: [batch, side, side] bool.
        distance: [batch, side, side] uint8.
        weight: [batch, side, side] uint8.
        scale: Factor to the training diameter, [batch] float32.
    """

    plane: Any
    foreground: Any
    distance: Any
    weight: Any
    scale: Any


class Example(NamedTuple):
    """A batch of crops.

    Attributes:
        images: [batch, size, size, 1] float32.
        target: What the network should say, [batch, size, size].
        weight: Of each pixel in the loss, [batch, size, size]; 0 is ignored.
    """

    images: Any
    target: Prediction
    weight: Any
