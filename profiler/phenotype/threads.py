"""One thread for what is small: threads wait for one another longer than they work."""

from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager:
    """Keep scikit-learn and linear algebra to one thread, so that their sums have one order."""
    return _controller().limit(limits=1)


@cache
def _controller() -> "ThreadpoolController":
    import sklearn.cluster  # noqa: F401  (a library can only be held back once it is loaded)
    from threadpoolctl import ThreadpoolController  # looks through all libraries that are

    return ThreadpoolController()
