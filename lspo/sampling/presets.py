"""LSPO as it was published, by name: the paper's rule and that of its authors' script."""

from __future__ import annotations

from lspo.sampling.accuracy_band import AccuracyBand
from lspo.sampling.chain import Chain
from lspo.sampling.length_band import LengthBand

# Classes and not functions: only those have a short name and a help on the command line.


class PaperLSPO(Chain):
    """The paper's rule: accuracy strictly between 0 and 1, then shares 0.30 / 0.65 / 0.95 by Q(a) = inf{t: F(t) >= a}.

    The paper judges each round by itself: set `pool="round"` with rounds of 256 prompts or more, as the recipe
    `lspo_paper` does.

    Reference: Chen, Koenig, Dilkina, LSPO, arXiv:2510.01459, section 4.
    """

    def __init__(self) -> None:
        super().__init__(AccuracyBand(), LengthBand(low=0.3, high=0.65, max=0.95, quantile="inverted_cdf"))


class AuthorsCodeLSPO(Chain):
    """The rule of the authors' shipped script: shares 0.30 / 0.60 / 0.90 by numpy's interpolated percentiles.

    Their rounds of 1536 prompts are judged each by itself: `pool="round"`, as in the recipe `lspo_authors_code`.

    Reference: the published code of LSPO, arXiv:2510.01459.
    """

    def __init__(self) -> None:
        super().__init__(AccuracyBand(), LengthBand(low=0.3, high=0.6, max=0.9, quantile="linear"))
