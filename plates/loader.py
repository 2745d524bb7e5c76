"""Image sets -> batches of one fixed shape, read ahead by threads.

A field that cannot be loaded becomes a `Failure` with a code and a sentence; the others go on.
"""

import os
from collections import Counter, deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import batched as _batched
from typing import NamedTuple

