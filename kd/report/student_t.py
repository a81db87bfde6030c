"""Student's t distribution: how many standard errors an interval takes when the error itself is an estimate."""

import math
from statistics import NormalDist

import numpy as np

# Gauss-Legendre: in the angle below the density is as smooth as a cosine, so these nodes leave rounding only.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
# From here on the normal distribution is nearer than what the logarithms of two large Gammas leave of their difference.
NEARLY_NORMAL = 1e7


def quantile(confidence: float, freedom: float) -> float:
    """The t for which |T| ≤ t has the probability `confidence`, with so many degrees of freedom (1 or more; they need
    not be whole). To six digits, and to more where there are few, up to a confidence of 0.99."""
    if freedom >= NEARLY_NORMAL:
        return NormalDist().inv_cdf((1 + confidence) / 2)
    low, high = 0.0, 1.0
    while within(high, freedom) < confidence:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, freedom) < confidence else (low, middle)
    return high


def within(t: float, freedom: float) -> float:
    """P(|T| ≤ t). With t = √ν · tan φ the density is a power of a cosine: 2 / B(ν/2, 1/2) · cos^(ν-1) φ."""
    logarithm = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    constant = 2 * math.exp(logarithm) / math.sqrt(math.pi)
    end = math.atan(t / math.sqrt(freedom))
    angles = (_NODES + 1) * end / 2
    return float(constant * (_WEIGHTS * np.cos(angles) ** (freedom - 1)).sum() * end / 2)
