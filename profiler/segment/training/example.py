"""What passes from files to the network: fields, windows cut from them, batches of crops."""

from typing import Any, NamedTuple

import numpy as np


class Field(NamedTuple):
    """One labelled image, ready to be cut. Half floats and bytes: a whole screen must fit.

    Attributes:
        name: Of the image, without its ending.
        image: Normalised stains, [height, width] or [height, width, channel] float16.
        labels: Consecutive, 0 background, [height, width], of the smallest type that holds them.
        weight: Of a pixel in the loss, uint8: 0 is ignored.
        centres: Of the objects, [object, 2] rows and columns, float32.
        scale: Factor that brings the objects to the training diameter; at most one pass of
            shrinking was done already, so this is never below 1.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    weight: np.ndarray
    centres: np.ndarray
    scale: float


class Windows(NamedTuple):
    """Pieces of fields, larger than the crops that are turned and scaled out of them.

    Attributes:
        image: [batch, side, side, channel] float16.
        labels: [batch, side, side] int32.
        weight: [batch, side, side] uint8.
        scale: Factor to the training diameter, [batch] float32.
    """

    image: Any
    labels: Any
    weight: Any
    scale: Any


class Crops(NamedTuple):
    """A batch of crops, turned and dimmed.

    Attributes:
        images: [batch, size, size, channel] float32.
        labels: [batch, size, size] int32.
        weight: Of each pixel in the loss, [batch, size, size]; 0 is ignored.
    """

    images: Any
    labels: Any
    weight: Any


class Example(NamedTuple):
    """A batch of crops, and what a head's network should say of them.

    Attributes:
        images: [batch, size, size, channel] float32.
        target: The head's targets, each with a batch axis.
        weight: Of each pixel in the loss, [batch, size, size]; 0 is ignored.
    """

    images: Any
    target: Any
    weight: Any
