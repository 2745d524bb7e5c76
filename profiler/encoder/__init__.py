"""`profiler train encoder`: a network of cells taught by a user's own runs.

`command.py` is the order of things: `choose.py` says which cells are learnt from and which judge,
`take.py` reads their fields again and cuts them out, `embed/training/` teaches, and `judge.py`
holds the encoder against the one that it began as.
"""

from profiler.encoder.command import EncoderRequest, Teaching, train_encoder
from profiler.encoder.judge import Judged
from profiler.encoder.take import Read

__all__ = ["EncoderRequest", "Judged", "Read", "Teaching", "train_encoder"]
