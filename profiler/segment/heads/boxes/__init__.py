"""Boxes and masks: a box around each nucleus, and which of its pixels are the nucleus's own."""

from profiler.segment.heads.boxes.belief import believe
from profiler.segment.heads.boxes.decode import Settings, decode
from profiler.segment.heads.boxes.layers import BoxLayers, read
from profiler.segment.heads.boxes.losses import Losses, losses
from profiler.segment.heads.boxes.targets import targets
from profiler.segment.heads.head import Head

BOXES = Head(
    name="boxes",
    suits="objects of very different sizes, and ones that overlap",
    make=BoxLayers,
    read=read,
    targets=targets,
    parts=Losses._fields,
    losses=losses,
    decode=decode,
    settings=Settings(),
    believe=believe,
    context=2,
)
