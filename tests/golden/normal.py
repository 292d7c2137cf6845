"""Writes normal.csv beside itself: the standard normal to 60 digits by mpmath (pip install mpmath==1.4.1)."""

import pathlib

from mpmath import erfc, erfinv, findroot, log, mp, mpf, pi, sqrt

mp.dps = 60


def log_pdf(z):
    return -z * z / 2 - log(2 * pi) / 2


def cdf(z):
    return erfc(-z / sqrt(mpf(2))) / 2


def log_cdf(z):
    if z < -1000:  # the asymptotic series, whose terms fall below 60 digits long before they grow
        term = total = mpf(1)
        for k in range(1, 12):
            term *= -(2 * k - 1) / (z * z)
            total += term
        return log_pdf(z) - log(-z) + log(total)
    if z > 0:
        with mp.workdps(60 + int(z * z)):
            return log(1 - erfc(z / sqrt(mpf(2))) / 2)
    with mp.workdps(80):
        return log(cdf(z))


def quantile_of_log_sf(target):
    if target > -log(mpf(2)):
        with mp.workdps(120):
            p = -mp.expm1(target)  # the distribution function, all digits kept
            return -quantile_of_log_sf(log(p)) if p < mpf("0.5") else mpf(0)
    start = sqrt(mp.mpf(2)) * erfinv(1 - 2 * mp.exp(target)) if target > -30 else sqrt(-2 * target) - mpf("0.1")
    return findroot(lambda z: log_cdf(-z) / target - 1, (start, start * (1 + mpf("1e-3")) + mpf("1e-9")))


magnitudes = [1e-300, 1e-20, 1e-9, 1e-4, 0.01, 0.1, 0.3, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 4.9]
magnitudes += [4.999999, 5.0, 5.000001, 5.1, 5.5, 6.0, 7.0, 8.3, 10.0, 12.7, 15.0, 20.0, 26.0, 30.1, 35.0, 37.0]
far = [38.6, 45.0, 49.999, 50.0, 50.001, 60.0, 100.0, 1234.5, 1e4, 1e6, 1e9, 1e50, 1e150]
zs = [0.0] + [sign * m for m in magnitudes for sign in (1, -1)]
rows = []
for z in zs + [sign * m for m in far for sign in (1, -1)]:
    exact = mpf(z)
    rows.append(("log_pdf", z, log_pdf(exact)))
    if z <= 37:  # the log of a probability within 1e-300 of one underflows
        rows.append(("log_cdf", z, log_cdf(exact)))
    if z >= -37:
        rows.append(("log_sf", z, log_cdf(-exact)))
rows += [("cdf", z, cdf(mpf(z))) for z in zs]
ps = [1e-300, 1e-100, 1e-15, 1e-9, 1e-6, 1e-4, 0.001, 0.01, 0.024, 0.1, 0.25, 0.4, 0.499, 0.4999999]
ps += [0.5000001, 0.501, 0.6, 0.75, 0.9, 0.95, 0.975, 0.99, 0.999, 0.9999, 0.999999, 1 - 1e-12, 1 - 2**-53]
for p in ps:
    exact = mpf(p)
    with mp.workdps(400):
        target = log(1 - exact) if p > 0.5 else log(exact)
    z = quantile_of_log_sf(target)
    rows.append(("quantile", p, z if p > 0.5 else -z))
targets = [-1e-300, -1e-50, -1e-12, -1e-6, -0.001, -0.1, -0.5, -0.69, -0.6931, -0.6932, -0.7, -1.0, -2.0, -5.0]
targets += [-10.0, -15.0, -15.1, -20.0, -40.0, -100.0, -700.0, -745.0, -1000.0, -1300.0, -1e4, -1e6, -1e12, -1e300]
for target in targets:
    z = quantile_of_log_sf(mpf(target))
    rows.append(("quantile_of_log_sf", target, z))
    rows.append(("quantile_of_log_cdf", target, -z))

with open(pathlib.Path(__file__).with_suffix(".csv"), "w") as file:
    file.write("function,argument,value\n")
    for function, argument, value in rows:
        file.write(f"{function},{argument!r},{mp.nstr(value, 20, min_fixed=-5, max_fixed=5)}\n")
