"""Whether a well has more cells of a class than wells have by themselves: the field's score.

Shares of a class differ from well to well by more than counting explains, so the wells of reference
are taken as draws of a beta-binomial distribution. A well's own share is then known as a beta
distribution, and its score is the odds that it is above a share drawn as the reference's are.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.special import betainc, betaincc, betaincinv, expit, logit
from scipy.stats import beta, betabinom

LEAST_WELLS = 3  # of reference; fewer do not say how wells differ
MOST_CELLS = 1e5  # that a prior is worth: wells alike but for counting have no end of it
NODES = 200  # of the quadrature
TINY = 1e-300  # a chance below it is not told from none

Counts = Int[np.ndarray, " well"]
PerWell = Float[np.ndarray, " well"]


class Prior(NamedTuple):
    """How shares of a class vary between wells: a beta distribution."""

    a: float
    b: float

    @property
    def mean(self) -> float:
        """The share that a well has on average."""
        return self.a / (self.a + self.b)


def fit_prior(counts: Counts, totals: Counts) -> Prior | None:
    """Find the beta-binomial distribution under which counts are likeliest.

    Args:
        counts: Cells of the class in wells of reference.
        totals: All cells of these wells.

    Returns:
        The prior, worth 100,000 cells at most, where wells differ by no more than counting; None
        with fewer than three wells that have cells. A class that no well of reference has, or that
        all cells are of, counts as if half a cell were otherwise.

    Source:
        Likelihood of the beta-binomial, scipy.stats.betabinom, by scipy.optimize; planted
        parameters come back in tests/classify/test_enrichment.py.
    """
    has_cells = totals > 0
    k, n = counts[has_cells], totals[has_cells]
    if len(k) < LEAST_WELLS:
        return None
    share = (k.sum() + 0.5) / (n.sum() + 1)
    if k.sum() in (0, n.sum()):  # nothing to say how wells differ: by half a cell in all
        return Prior(share * n.sum(), (1 - share) * n.sum())
    most = np.log(MOST_CELLS)

    def unlikely(at: np.ndarray) -> float:
        mean, size = expit(at[0]), np.exp(np.clip(at[1], -5, most))
        return -float(betabinom.logpmf(k, n, mean * size, (1 - mean) * size).sum())

    begins = [np.array([logit(share), start]) for start in (1.0, 4.0, 8.0)]
    found = min((minimize(unlikely, x, method="Nelder-Mead") for x in begins), key=lambda r: r.fun)
    mean, size = expit(found.x[0]), np.exp(np.clip(found.x[1], -5, most))
    return Prior(float(mean * size), float((1 - mean) * size))


def enrichment(counts: Counts, totals: Counts, prior: Prior) -> PerWell:
    """Score wells by how sure it is that they have more of a class than wells of reference do.

    Args:
        counts: Cells of the class.
        totals: All cells.
        prior: From `fit_prior`.

    Returns:
        The logarithm to base 2 of the odds that the well's share is above one drawn from the prior:
        0 as likely as not, 10 a thousand to one; at most about 1,000.

    Source:
        CellProfiler Analyst's enrichment score (Jones et al. 2009, PNAS 106:1826), whose closed
        form is here an integral over the prior's quantiles; against Monte Carlo and scipy's
        quadrature in tests/classify/test_enrichment.py.
    """
    at, weight = np.polynomial.legendre.leggauss(NODES)
    drawn = betaincinv(prior.a, prior.b, (at + 1) / 2)
    a, b = prior.a + counts[:, None], prior.b + (totals - counts)[:, None]
    above, below = (part(a, b, drawn) @ (weight / 2) for part in (betaincc, betainc))
    return np.log2(np.maximum(above, TINY)) - np.log2(np.maximum(below, TINY))


def share_interval(
    counts: Int[np.ndarray, "*shape"], totals: Int[np.ndarray, "*shape"]
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """Where the share of a class lies with 95%, from counting alone.

    Source:
        Jeffreys' interval (Brown, Cai & DasGupta 2001), closed at 0 and 1.

    >>> low, high = share_interval(np.array([0, 5]), np.array([10, 10]))
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.0, 0.224], [0.217, 0.776])
    """
    a, b = counts + 0.5, totals - counts + 0.5
    low = np.where(counts > 0, beta.ppf(0.025, a, b), 0.0)
    high = np.where(counts < totals, beta.ppf(0.975, a, b), 1.0)
    return low, high
