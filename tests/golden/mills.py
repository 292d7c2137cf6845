"""Prints the coefficients of `math::vector::mills`, by mpmath (pip install mpmath==1.4.1), and how far off they are in double precision."""

from mpmath import chop, cos, erfc, exp, mp, mpf, pi, sqrt

mp.dps = 50
K = 4
DEGREE = 22
NODES = 60


def mills(z):
    if z > 200:  # the asymptotic series: its next term is below 1e-27
        s, total, term = 1 / (z * z), mpf(1), mpf(1)
        for k in range(1, 7):
            term *= -(2 * k - 1) * s
            total += term
        return total / z
    return sqrt(pi / 2) * exp(z * z / 2) * erfc(z / sqrt(mpf(2)))


def scaled(y):
    z = K * (1 + y) / (1 - y)
    return (z + K) * mills(z)


def coefficients():
    """Of the powers of y, from the Chebyshev interpolation on [-1, 1]."""
    nodes = [cos(pi * (j + mpf(1) / 2) / NODES) for j in range(NODES)]
    values = [scaled(y) for y in nodes]
    powers = [mpf(0)] * (DEGREE + 1)
    before, polynomial = [mpf(0)], [mpf(1)]
    for n in range(DEGREE + 1):
        weight = 2 / mpf(NODES) * sum(v * cos(pi * n * (j + mpf(1) / 2) / NODES) for j, v in enumerate(values))
        for power, c in enumerate(polynomial):
            powers[power] += (weight / 2 if n == 0 else weight) * c
        factor = 1 if n == 0 else 2
        following = [mpf(0)] + [factor * c for c in polynomial]
        for power, c in enumerate(before if n > 0 else []):
            following[power] -= c
        before, polynomial = polynomial, following
    return [float(chop(c)) for c in powers]


def main():
    powers = coefficients()
    for c in powers:
        print(f"    {c!r},")
    worst = 0
    for n in range(4000):
        z = 40 * (n / 4000) ** 2
        q = 1.0 / (z + K)
        y, total = 1.0 - 2 * K * q, 0.0
        for c in reversed(powers):
            total = total * y + c
        worst = max(worst, abs(total * q / mills(mpf(z)) - 1))
    print(f"relative error at most {float(worst):.1e}")


if __name__ == "__main__":
    main()
