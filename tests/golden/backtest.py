"""Writes backtest.json beside itself: what reference implementations make of the backtest's statistics.

pip install numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0 scoringrules==0.10.0 vartests==0.4.1 mpmath==1.4.1

Each section says which package its values come from; "formula" is one written here after the paper, independent of the Rust.
Series are not stored: both sides draw them from Knuth's generator.
"""

import json
import math
import pathlib

import mpmath as mp
import numpy as np
import scoringrules
import statsmodels.api as sm
import vartests
from scipy import integrate, special, stats
from statsmodels.stats.proportion import proportion_confint

mp.mp.dps = 40
out = {}


class Lcg:
    def __init__(self, seed):
        self.state = seed

    def uniform(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return ((self.state >> 11) + 0.5) / 2**53

    def normal(self):
        return float(stats.norm.ppf(self.uniform()))


def section(name, source, cases):
    out[name] = {"source": source, "cases": cases}


section("chi_squared", "scipy.stats.chi2.sf", [
    {"statistic": s, "degrees": d, "p_value": float(stats.chi2.sf(s, d))}
    for d in range(1, 7) for s in (1e-9, 1e-3, 0.3, 1.0, 3.84, 7.0, 20.0, 100.0, 700.0)
])


# --- the binomial distribution

def upper(k, n, p):
    """P(X >= k) by mpmath: terms from k on, which fall from there, or what the terms below leave."""
    p = mp.mpf(p)
    if k > n:
        return mp.mpf(0)
    if k <= n * p:
        return 1 - lower(k - 1, n, p)
    term = mp.exp(mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1) + k * mp.log(p) + (n - k) * mp.log1p(-p))
    total, odds = mp.mpf(0), p / (1 - p)
    while k <= n and (total == 0 or term > total * mp.mpf("1e-25")):
        total += term
        term *= odds * (n - k) / (k + 1)
        k += 1
    return total


def lower(k, n, p):
    if k < 0:
        return mp.mpf(0)
    if k > n * mp.mpf(p):
        return 1 - upper(k + 1, n, p)
    return upper(n - k, n, 1 - mp.mpf(p))


section("binomial", "mpmath, summed term by term", [
    {"k": k, "n": n, "p": p, "upper": float(upper(k, n, p)), "lower": float(lower(k, n, p))}
    for n, p, ks in [
        (1, 0.25, [1]), (10, 0.5, [1, 5, 9]), (250, 0.01, [1, 2, 3, 5, 10, 40]), (1000, 0.001, [1, 2, 8]),
        (40, 0.999, [30, 39, 40]), (10**6, 0.01, [9000, 9999, 10000, 10001, 10150, 12000]),
        (10**8, 0.01, [990000, 999999, 1000000, 1000001, 1005000, 1030000]), (10**8, 0.5, [49990000, 50000000, 50020000]),
        (10**8, 1e-7, [3, 10, 25]),
    ] for k in ks
])


# --- coverage

def g_test(table):
    total, ratio = table.sum(), 0.0
    for i in range(2):
        for j in range(2):
            if table[i, j] > 0:
                ratio += 2 * table[i, j] * math.log(table[i, j] * total / (table[i].sum() * table[:, j].sum()))
    return ratio


def dynamic_quantile(hits, forecasts, p, with_forecast):
    h = hits - p
    columns = [np.ones(len(h) - 4)] + [h[4 - lag:len(h) - lag] for lag in range(1, 5)]
    if with_forecast:
        v = forecasts[4:]
        columns.append((v - v.mean()) / v.std())
    x = np.column_stack(columns)
    fit = sm.OLS(h[4:], x).fit()
    statistic = float(fit.params @ (x.T @ x) @ fit.params / (p * (1 - p)))
    return statistic, float(stats.chi2.sf(statistic, x.shape[1]))


def traffic_light(hits, p):
    light = [0, 0, 0]
    for start in range(0, len(hits) - 249, 250):
        probability = stats.binom.cdf(hits[start:start + 250].sum(), 250, p)
        light[int(probability >= 0.95) + int(probability >= 0.9999)] += 1
    return light


cases = []
for seed, events, p, rate, after, offset, spread in [
    (1, 1000, 0.05, 0.05, 0.05, 10.0, 1.0), (2, 3000, 0.01, 0.015, 0.1, 0.0, 1e-3), (3, 600, 0.1, 0.02, 0.3, 1e6, 2.0),
    (4, 2000, 0.025, 0.025, 0.025, 0.5, 0.0), (5, 5000, 0.01, 0.05, 0.3, -3.0, 5.0), (6, 20000, 0.001, 0.001, 0.2, 5.0, 1.0),
]:
    draws, hits, forecasts, previous = Lcg(seed), [], [], False
    for _ in range(events):
        forecasts.append(offset + spread * draws.uniform())
        previous = draws.uniform() < (after if previous else rate)
        hits.append(previous)
    hits, forecasts = np.array(hits, dtype=float), np.array(forecasts)
    x = int(hits.sum())
    kupiec = vartests.kupiec_test(hits.astype(int), risk_conf_level=1 - p)
    pof = kupiec["statistic"]
    table = np.zeros((2, 2))
    np.add.at(table, (hits[:-1].astype(int), hits[1:].astype(int)), 1)
    independence = g_test(table)
    # scipy's own, which leaves out no cell either
    assert abs(stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic - independence) < 1e-9
    dq, dq_p = dynamic_quantile(hits, forecasts, p, spread > 0)
    sides = [stats.binomtest(x, events, p, alternative=side).pvalue for side in ("less", "greater")]
    cases.append({
        "seed": seed, "events": events, "p": p, "rate": rate, "after": after, "offset": offset, "spread": spread, "hits": x,
        "binomial_p": float(min(1, 2 * min(sides))), "pof": float(pof), "pof_p": float(stats.chi2.sf(pof, 1)),
        "independence": independence, "independence_p": float(stats.chi2.sf(independence, 1)),
        "conditional_coverage": float(pof + independence),
        "conditional_coverage_p": float(stats.chi2.sf(pof + independence, 2)),
        "dynamic_quantile": dq, "dynamic_quantile_p": dq_p,
        "clustering": float(table[1, 1] / table[1].sum() / (x / events)), "light": traffic_light(hits, p),
    })
section("coverage", "scipy.stats.binomtest (twice the smaller side); vartests.kupiec_test; scipy.stats.chi2_contingency with "
        "lambda_='log-likelihood' for independence; statsmodels OLS for the dynamic quantile; scipy.stats.binom for the light", cases)


# --- Poisson binomial

cases = []
for seed, events, centre, spread, observed in [
    (1, 3, -1.5, 0.5, 0), (2, 3, -1.5, 0.5, 2), (3, 300, -4.0, 2.0, 9), (4, 300, -7.0, 2.0, 2), (5, 1000, -2.0, 1.5, 190),
    (6, 1000, -2.0, 1.5, 250), (7, 5000, -5.0, 3.0, 130), (8, 400, -0.4, 0.39, 300), (9, 10, -8.0, 1.0, 0),
]:
    draws = Lcg(seed)
    ps = np.array([math.exp(centre + spread * (2 * draws.uniform() - 1)) for _ in range(events)])
    lower_p, upper_p = stats.poisson_binom.cdf(observed, ps), stats.poisson_binom.sf(observed - 1, ps)
    exact = np.array([1.0])
    for p in ps:  # by convolution, where each term is a sum of positive ones
        exact = np.convolve(exact, [1 - p, p])
    assert abs(exact[:observed + 1].sum() - lower_p) < 1e-12 and abs(exact[observed:].sum() - upper_p) < 1e-12
    cases.append({
        "seed": seed, "events": events, "centre": centre, "spread": spread, "observed": observed,
        "expected": float(ps.sum()), "variance": float((ps * (1 - ps)).sum()), "lower_p": float(exact[:observed + 1].sum()),
        "upper_p": float(exact[observed:].sum()),
    })
section("poisson_binomial", "numpy convolution, checked against scipy.stats.poisson_binom", cases)


# --- uniformity

section("kolmogorov", "scipy.special.kolmogorov", [
    {"x": x, "p": float(special.kolmogorov(x))} for x in (0.3, 0.5, 0.8, 0.999, 1.0, 1.2, 1.36, 2.0, 3.5, 6.0)
])


def negative_log_likelihood(z, mu, rho, sigma):
    return -stats.norm.logpdf(z[1:], mu + rho * (z[:-1] - mu), sigma).sum()


cases = []
for seed, events, mu, sigma, rho in [(1, 100, 0.0, 1.0, 0.0), (2, 400, 0.1, 1.1, 0.1), (3, 250, -0.2, 0.9, -0.2), (4, 50, 0.3, 1.0, 0.0)]:
    draws, z, zs = Lcg(seed), mu, []
    for _ in range(events):
        z = mu + rho * (z - mu) + sigma * draws.normal()
        zs.append(z)
    zs = np.array(zs)
    fit = sm.OLS(zs[1:], sm.add_constant(zs[:-1])).fit()
    ratio = 2 * (fit.llf + negative_log_likelihood(zs, 0, 0, 1))
    pits = stats.norm.cdf(zs)
    ks = stats.kstest(pits, "uniform")
    cases.append({
        "seed": seed, "events": events, "mu": mu, "sigma": sigma, "rho": rho, "ks": float(ks.statistic), "ks_p": float(ks.pvalue),
        "berkowitz": float(ratio), "berkowitz_p": float(stats.chi2.sf(ratio, 3)), "mean": float(zs.mean()),
        "standard_deviation": float(zs.std()), "correlation": float(np.corrcoef(zs[:-1], zs[1:])[0, 1]),
        "histogram": np.histogram(pits, 20, (0, 1))[0].tolist(),
    })
section("uniformity", "scipy.stats.kstest (exact); Berkowitz's ratio of statsmodels' OLS likelihood; numpy", cases)


# --- shortfall

cases = []
rng = np.random.default_rng(1)
for seed, events, truth in [(1, 400, 1.0), (2, 400, 1.1), (3, 1000, 0.97)]:
    p = 0.95
    quantile = stats.norm.ppf(p)
    es = stats.norm.pdf(quantile) / (1 - p)
    draws = Lcg(seed)
    ys = np.array([truth * draws.normal() for _ in range(events)])
    hits = ys > quantile
    z1, z2 = ys[hits].mean() / es - 1, (ys * hits).sum() / (events * (1 - p) * es) - 1
    more1 = more2 = with_hits = 0
    for _ in range(50):
        y = rng.standard_normal((4000, events))
        hit = y > quantile
        total, number = (y * hit).sum(axis=1) / es, hit.sum(axis=1)
        more1 += (total[number > 0] / number[number > 0] - 1 >= z1).sum()
        with_hits += (number > 0).sum()
        more2 += (total / (events * (1 - p)) - 1 >= z2).sum()
    cases.append({"seed": seed, "events": events, "truth": truth, "z1": float(z1), "z2": float(z2),
                  "z1_p": float(more1 / with_hits), "z2_p": float(more2 / 200000)})
section("shortfall", "formula, and numpy simulations of 200,000 histories", cases)


# --- scores

def mixture(weights, means, deviations):
    w, m, d = np.array(weights), np.array(means), np.array(deviations)
    return {"kind": "mixture", "weights": weights, "means": means, "deviations": deviations}, \
        lambda z: float(w @ stats.norm.cdf((z - m) / d)), lambda z: float(w @ stats.norm.sf((z - m) / d)), \
        lambda y: scoringrules.crps_mixnorm(y, m, d, w)


def student(df):
    return {"kind": "student", "df": df}, lambda z: special.stdtr(df, z), lambda z: special.stdtr(df, -z), \
        (lambda y: scoringrules.crps_t(y, df)) if df > 1 else None


def pareto(xi):
    """Pareto tails on both sides: P(Y > z) = (1 + xi z)^(-1/xi) / 2 for z > 0."""
    def sf(z):
        return (1 + xi * z) ** (-1 / xi) / 2 if z >= 0 else 1 - sf(-z)

    return {"kind": "pareto", "xi": xi}, lambda z: sf(-z), sf, None


cases = []
for (told, cdf, sf, reference), centre, scale in [
    (mixture([1.0], [0.0], [1.0]), 0.0, 1.0), (mixture([1.0], [0.0], [1.0]), 0.5, 0.4), (mixture([1.0], [0.0], [1.0]), 0.0, 2.5),
    (student(3.0), 0.0, 1.2), (student(1.5), 0.0, 1.5), (student(1.0), 0.0, 1.5), (pareto(1.0), 0.0, 1.5), (pareto(0.9), 0.0, 1.5),
    (mixture([0.9, 0.1], [0.0, 5.0], [1.0, 3.0]), 0.14, 1.3), (mixture([0.95, 0.05], [0.0, 0.0], [1.0, 10.0]), 0.0, 1.0),
    (mixture([0.5, 0.5], [-3.0, 3.0], [0.5, 0.5]), 0.0, 3.0), (mixture([0.98, 0.02], [0.0, 20.0], [1.0, 2.0]), 0.03, 1.0),
]:
    for y in (centre, centre + 0.1, centre + 1.7, centre - 4.0, centre + 12.0, centre + 50 * scale, centre - 50 * scale):
        thresholds = [centre - 0.5 * scale, centre + 1.5, centre + 4 * scale]
        cuts = [centre + side * cut for side in (-1, 1) for cut in (0, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 19, 22, 25, 30, 40, 70, 100, 1000)]
        edges = sorted({y, *thresholds, *cuts})

        def between(a, b):
            square = (lambda z: sf(z) ** 2) if a >= y else (lambda z: cdf(z) ** 2)
            return integrate.quad(square, a, b, epsabs=0, epsrel=1e-11, limit=200)[0]

        def above(start):
            points = [edge for edge in edges if edge >= start] + [np.inf]
            return math.fsum(between(a, b) for a, b in zip(points, points[1:]))

        crps = above(edges[0]) + between(-np.inf, edges[0])
        if reference is not None:
            assert abs(reference(y) / crps - 1) < 1e-7, (told, y, reference(y), crps)
        cases.append({**told, "centre": centre, "scale": scale, "y": y, "thresholds": thresholds, "crps": crps,
                      "above": [above(threshold) for threshold in thresholds]})
section("crps", "scipy.integrate.quad, checked against scoringrules' crps_t and crps_mixnorm", cases)

cases = []
for y, q, es, p in [(1.0, 2.0, 3.0, 0.95), (2.5, 2.0, 3.0, 0.95), (10.0, -1.0, 0.5, 0.99), (-4.0, 0.1, 0.2, 0.5), (2.0, 2.0, 2.5, 0.9)]:
    alpha, v, e, loss = 1 - p, -q, -es, -y  # Patton, Ziegel & Chen's lower tail
    fz0 = -(loss <= v) * (v - loss) / (alpha * e) + v / e + math.log(-e) - 1
    cases.append({"y": y, "q": q, "es": es, "p": p, "pinball": float(scoringrules.quantile_score(y, q, p)), "fissler_ziegel": fz0,
                  "brier_yes": float(scoringrules.brier_score(1, p)), "brier_no": float(scoringrules.brier_score(0, p))})
section("scores", "scoringrules.quantile_score and brier_score; formula of FZ0 in the lower tail", cases)


# --- inference

cases = []


def ar(seed, events, coefficient):
    draws, x, xs = Lcg(seed), 0.0, []
    for _ in range(events):
        x = coefficient * x + draws.normal()
        xs.append(3.0 + x)
    return np.array(xs)


def blocks(values, length):
    return np.array([values[i:i + length].sum() for i in range(0, len(values), length)])


def half_width(sums, counts):
    """Of the ratio of sums, whose score in each block is its sum less the mean times its count."""
    B = len(sums)
    S = math.ceil(1.3 * math.sqrt(B))
    mean = sums.sum() / counts.sum()
    scores = sums - mean * counts
    fit = sm.OLS(scores, np.ones(B)).fit(cov_type="HAC", cov_kwds={"maxlags": S - 1, "kernel": "bartlett", "use_correction": False})
    se = float(fit.bse[0]) * B / counts.sum()
    b = S / B
    return float(mean), (1.96 + 2.9694 * b + 0.4160 * b**2 - 0.5324 * b**3) * se


for seed, events, coefficient, length in [(1, 10, 0.2, 1), (2, 300, 0.5, 1), (3, 4096, 0.5, 1), (4, 4097, 0.5, 2), (5, 20003, 0.9, 8)]:
    xs, other = ar(seed, events, coefficient), ar(seed + 1, events, 0.3)
    present = np.array([i % 7 != 3 for i in range(events)], dtype=float)
    mean, width = half_width(blocks(xs, length), blocks(np.ones(events), length))
    mean_missing, width_missing = half_width(blocks(xs * present, length), blocks(present, length))
    difference, width_difference = half_width(blocks(xs - other, length), blocks(np.ones(events), length))
    cases.append({"seed": seed, "events": events, "coefficient": coefficient, "mean": mean, "half_width": width,
                  "mean_missing": mean_missing, "half_width_missing": width_missing, "difference": difference,
                  "half_width_difference": width_difference})
section("inference", "statsmodels OLS with cov_type='HAC' (Bartlett) and Kiefer & Vogelsang's polynomial", cases)

section("wilson", "statsmodels.stats.proportion.proportion_confint(method='wilson')", [
    {"hits": hits, "n": n, "confidence": c, "low": float(low), "high": float(high)}
    for hits, n, c in [(0, 10, 0.95), (3, 10, 0.95), (10, 10, 0.9), (57, 4000, 0.99), (10**6, 10**8, 0.95)]
    for low, high in [proportion_confint(hits, n, 1 - c, method="wilson")]
])


# --- power

cases = []
for events, p in [(100, 0.05), (400, 0.01), (2500, 0.01), (40000, 0.01), (20000, 0.001), (30, 0.5)]:
    critical = next(k for k in range(events + 1) if stats.binom.sf(k - 1, events, p) <= 0.025)
    low, high = p, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if stats.binom.sf(critical - 1, events, middle) < 0.8 else (low, middle)
    cases.append({"events": events, "p": p, "critical": critical, "noticeable": high})
section("power", "scipy.stats.binom", cases)

cases = []
for p, up_to in [(0.01, 6000), (0.001, 60000), (0.1, 1000), (0.05, 2000)]:
    ns = np.arange(1, up_to)
    critical = stats.binom.isf(0.025, ns, p) + 1  # P(X >= critical) = sf(critical - 1) <= 0.025
    powers = stats.binom.sf(critical - 1, ns, 1.5 * p)
    enough = powers >= 0.8
    first, always = int(ns[enough][0]), int(ns[~enough][-1]) + 1
    cases.append({"p": p, "first": first, "always": always})
section("events_needed", "scipy.stats.binom", cases)

# --- the polynomial of Kiefer & Vogelsang's critical values, checked by simulation: Bartlett's sum is that of squared sums over S

rng, T = np.random.default_rng(3), 800
for b in (0.02, 0.1, 0.3):
    S, ratios = round(b * T), []
    for _ in range(10):
        x = rng.standard_normal((3000, T))
        cumulative = np.cumsum(np.pad(x - x.mean(axis=1, keepdims=True), ((0, 0), (S, S))), axis=1)
        variance = ((cumulative[:, S:] - cumulative[:, :-S]) ** 2).sum(axis=1) / S
        ratios.append(np.abs(x.sum(axis=1)) / np.sqrt(variance))
    told = 1.96 + 2.9694 * b + 0.4160 * b**2 - 0.5324 * b**3
    simulated = np.quantile(np.concatenate(ratios), 0.95)
    assert abs(simulated / told - 1) < 0.02, (b, simulated, told)

path = pathlib.Path(__file__).with_suffix(".json")
lines = [f"{json.dumps(name)}: {{\n\"source\": {json.dumps(body['source'])},\n\"cases\": [\n"
         + ",\n".join(json.dumps(case) for case in body["cases"]) + "\n]}" for name, body in out.items()]
path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
print(path.stat().st_size, "bytes")
