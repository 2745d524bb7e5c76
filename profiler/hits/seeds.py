"""Random numbers that a stated seed alone decides."""

import hashlib

import numpy as np


def generator(seed: int, key: object) -> np.random.Generator:
    """Make a generator that depends on the seed and on what it is for, and on nothing else.

    Args:
        seed: 0 or more.
        key: What it is for, such as a compound's name and dose. Not where it stands in a table,
            so that neither order nor company change what is drawn.

    >>> bool(generator(0, "taxol").random() == generator(0, "taxol").random())
    True
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])
