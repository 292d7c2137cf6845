"""Compares tailwater's published figures for the flights of 2013 with those of three peers.

All contenders get the features of examples/flights.toml and live under one rule of when a target is known: flight i
is forecast at stream time max(departed_at[..=i]), and exactly the targets whose arrived_at is strictly less are known
then. Peers learn from targets in order of (arrived_at, input order). The peers:

  rolling  the last WINDOW known targets, no features; its quantiles invert the empirical distribution function (the
           least target at or below which lies at least that share of the window), so they are whole minutes
  linear   online quantile and logistic regression by subgradient descent, one update for each known target
  trees    gradient-boosted trees (LightGBM), refitted to all known targets at each REFIT_EVERY-th flight

A peer's crossed quantiles, and crossed probabilities, are sorted. Figures are arrays of shape (flights, 7): the
quantiles at LEVELS in minutes, then P(delay > t) for t in THRESHOLDS.

Run it as: flights.py --data data/flights-2013.csv.zst --scores NAME=scores.parquet [--out table.md]
"""

import argparse
import bisect
import collections
import time

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

LEVELS = np.array([0.5, 0.9, 0.99, 0.999])
THRESHOLDS = np.array([15.0, 60.0, 180.0])  # minutes
COLUMNS = ["q50", "q90", "q99", "q99_9", "p_gt_15", "p_gt_60", "p_gt_180"]
METRICS = [f"pinball loss at {level:g}, min" for level in LEVELS] + [f"Brier score of P(> {t:g})" for t in THRESHOLDS]

NUMBERS = ["dep_delay", "distance", "temp", "wind_speed", "precip", "visib"]
LOG1P = {"distance", "precip"}
PERIODS = {"hour": 24, "dow": 7, "month": 12}
CATEGORIES = ["carrier", "origin", "dest"]

# Step sizes of the linear model by column of the figures, tuned on the evaluated flights themselves (which favours it).
# AdaGrad did at least about as well as a decaying average of squared gradients, and better than averaged weights; a
# constant step for the intercepts gained up to 4 % more, as it lets them follow the day's conditions.
WEIGHT_STEPS = np.array([10.0, 6.0, 6.0, 6.0, 0.3, 0.3, 0.3])
INTERCEPT_STEPS = np.array([0.1, 3.0, 4.0, 10.0, 0.02, 0.05, 0.2])

FIRST_EVALUATED = 20_000  # the flight of the trees' first fit
WINDOW = 5_000  # targets
REFIT_EVERY = 20_000  # flights
THREADS = 2
SEED = 2013
RESAMPLES = 1_000  # of the bootstrap

# Tuned by the loss on the 20,000 flights after refits at 40,000, 140,000 and 260,000 (which favours the trees), over
# 4 to 127 leaves of 100 to 4,000 targets, rates of 0.05 and 0.1, up to 300 rounds, with and without extra_trees,
# path_smooth and coarser bins. More rounds gained on held-out flights of the past (tried at level 0.99) but not on
# those ahead, so it is drift rather than slow fitting that limits the trees. Few rounds, strong smoothing of categories
# and half the features for each tree did best, without splits by month, of which the flights ahead bring new values
# (nor by temperature for the median).
TREES = {
    "learning_rate": 0.1,
    "num_leaves": 7,
    "min_data_in_leaf": 1_000,
    "feature_fraction": 0.5,
    "cat_smooth": 500,
    "cat_l2": 1_000,
    "feature_contri": [0.0 if name == "month" else 1.0 for name in [*NUMBERS, *PERIODS, *CATEGORIES]],
    "feature_pre_filter": False,  # one data set serves models of different leaf sizes
    "num_threads": THREADS,
    "seed": SEED,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
TREES_BY_FIGURE = [
    {
        "num_leaves": 127,
        "min_data_in_leaf": 300,
        "num_iterations": 50,
        "feature_contri": [0.0 if name in ("month", "temp") else 1.0 for name in [*NUMBERS, *PERIODS, *CATEGORIES]],
    },
    {"num_leaves": 31, "min_data_in_leaf": 500, "num_iterations": 30},
    {"num_iterations": 50},
    {"num_leaves": 4, "num_iterations": 50},
    {"num_iterations": 75},
    {"num_iterations": 100},
    {"num_iterations": 150},
]


def read_flights(path):
    """Reads the flights: a dict from column to an array (flights,), categories as codes 0, 1, ..., gaps as NaN."""
    with pa.input_stream(path) as stream:  # decompresses by the name's ending
        table = pa.csv.read_csv(stream)
    flights = {name: table[name].to_numpy().astype(float) for name in [*NUMBERS, *PERIODS, "arr_delay"]}
    for name in LOG1P:
        flights[name] = np.log1p(flights[name])
    for name in CATEGORIES:
        flights[name] = table[name].combine_chunks().dictionary_encode().indices.to_numpy()
    for name in ["departed_at", "arrived_at"]:
        flights[name] = table[name].to_numpy()
    return flights


def targets_known(departed_at, arrived_at):
    """Returns the order in which targets get known, and for each flight how many are known at its forecast."""
    stream_time = np.maximum.accumulate(departed_at)
    order = np.argsort(arrived_at, kind="stable")
    known = np.searchsorted(arrived_at[order], stream_time, side="left")
    # The last flight in each prefix of the order: were it not before i, a peer would learn from the future.
    newest = np.maximum.accumulate(order)
    some = known > 0
    if np.any(newest[known[some] - 1] >= np.flatnonzero(some)):
        raise SystemExit("a target would be known before its own flight is forecast")
    return order, known


def rolling(flights, order, known):
    """Forecasts each flight by the empirical distribution of the last WINDOW known targets."""
    targets = flights["arr_delay"]
    figures = np.full((len(known), 7), np.nan)
    recent, ascending, learned = collections.deque(), [], 0
    for i, count in enumerate(known):
        for target in targets[order[learned:count]]:
            recent.append(target)
            bisect.insort(ascending, target)
            if len(recent) > WINDOW:
                del ascending[bisect.bisect_left(ascending, recent.popleft())]
        learned = count
        if size := len(ascending):
            # 1e-9 keeps a product such as 0.999 * 5000 from rounding up to the next rank.
            figures[i, :4] = [ascending[int(rank) - 1] for rank in np.ceil(LEVELS * size - 1e-9)]
            figures[i, 4:] = [1 - bisect.bisect_right(ascending, t) / size for t in THRESHOLDS]
    return figures


def linear_inputs(flights):
    """Returns the indices (flights, k) and the values (flights, k) of each flight's nonzero inputs, and their number.

    Numbers are standardised by the mean and deviation of the flights up to and including their own.
    """
    n = len(flights["arr_delay"])
    dense = [np.ones(n)]
    for name in NUMBERS:
        x, present = flights[name], np.isfinite(flights[name])
        count = np.maximum(np.cumsum(present), 1)
        mean = np.nancumsum(x) / count
        deviation = np.sqrt(np.maximum(np.nancumsum(x * x) / count - mean**2, 1e-4))
        dense.append(np.where(present, (x - mean) / deviation, 0.0))
        if not present.all():
            dense.append(1.0 - present)
    for name, period in PERIODS.items():
        angle = 2 * np.pi * flights[name] / period
        dense += [np.sin(angle), np.cos(angle)]
    width = len(dense)
    indices = [np.full(n, k) for k in range(width)]
    for name in CATEGORIES:
        indices.append(width + flights[name])
        width += flights[name].max() + 1
    values = np.column_stack(dense + [np.ones(n)] * len(CATEGORIES))
    return np.column_stack(indices), values, width


def uncrossed(figures):
    """Sorts each row's quantiles to ascend and its probabilities to descend, in (flights, 7)."""
    return np.hstack([np.sort(figures[:, :4], axis=1), -np.sort(-figures[:, 4:], axis=1)])


def linear(flights, order, known):
    """Forecasts by linear quantile and logistic regressions, learned by one AdaGrad step for each known target."""
    indices, values, width = linear_inputs(flights)
    targets = flights["arr_delay"]
    exceeds = (targets[:, None] > THRESHOLDS).astype(float)
    weights = np.zeros((width, 7))
    squares = np.ones((width, 7))  # sums of squared gradients
    sums = np.zeros((len(known), 7))
    slope = np.empty(7)  # of the losses (pinball, logistic) by the weighted sums
    learned = 0
    for i, count in enumerate(known):
        for j in order[learned:count]:
            rows, x = indices[j], values[j]
            at = x @ weights[rows]
            slope[:4] = (targets[j] <= at[:4]) - LEVELS
            slope[4:] = 1 / (1 + np.exp(-at[4:])) - exceeds[j]
            gradient = x[:, None] * slope
            square = squares[rows] + gradient * gradient
            squares[rows] = square
            step = WEIGHT_STEPS * gradient / np.sqrt(square)
            step[0] = INTERCEPT_STEPS * slope
            weights[rows] -= step
        learned = count
        sums[i] = values[i] @ weights[indices[i]]
    return uncrossed(np.hstack([sums[:, :4], 1 / (1 + np.exp(-sums[:, 4:]))]))


def trees(flights, order, known):
    """Forecasts by boosted trees, one model for each figure, fitted to all targets known at the last refit.

    The quantile models learn arr_delay - dep_delay, whose quantiles given the features are those of arr_delay less a
    known number: steps are a poor fit to the straight line between the two delays, above all where few flights are.
    """
    inputs = np.column_stack([flights[name] for name in [*NUMBERS, *PERIODS, *CATEGORIES]]).astype(float)
    categorical = list(range(inputs.shape[1] - len(CATEGORIES), inputs.shape[1]))
    delay, already = flights["arr_delay"], flights["dep_delay"]
    labels = [delay - already for _ in LEVELS] + [(delay > t).astype(float) for t in THRESHOLDS]
    goals = [{"objective": "quantile", "alpha": level} for level in LEVELS] + [{"objective": "binary"}] * 3
    figures = np.full((len(known), 7), np.nan)
    for start in range(REFIT_EVERY, len(known), REFIT_EVERY):
        fitted, ahead = order[: known[start]], slice(start, start + REFIT_EVERY)
        data = lightgbm.Dataset(inputs[fitted], categorical_feature=categorical, params=TREES, free_raw_data=False)
        for column, (goal, label, setting) in enumerate(zip(goals, labels, TREES_BY_FIGURE)):
            data.set_label(label[fitted])
            model = lightgbm.train(TREES | goal | setting, data)
            figures[ahead, column] = model.predict(inputs[ahead], num_threads=THREADS)
    figures[:, :4] += already[:, None]
    return uncrossed(figures)


def read_scores(path, n):
    """Reads tailwater's figures from a replay's Parquet file at path: (n, 7), rows placed by their offset."""
    table = pa.parquet.read_table(path, columns=["offset", *COLUMNS])
    offsets = table["offset"].to_numpy()
    if len(np.unique(offsets)) != len(offsets) or (len(offsets) and not 0 <= offsets.min() <= offsets.max() < n):
        raise SystemExit(f"{path}: offsets must be unique and in 0..{n}: are these the scores of these flights?")
    figures = np.full((n, 7), np.nan)
    figures[offsets] = np.column_stack([table[name].to_numpy() for name in COLUMNS])
    return figures


def losses(figures, targets):
    """Returns the losses (flights, 7) of figures: pinball in minutes by level, Brier by threshold."""
    above = targets[:, None] - figures[:, :4]
    brier = (figures[:, 4:] - (targets[:, None] > THRESHOLDS)) ** 2
    return np.hstack([np.maximum(LEVELS * above, (LEVELS - 1) * above), brier])


def behind(ours, theirs, departed_at):
    """Returns ours/theirs - 1 in % of the mean losses (flights, 7), and its 95 % interval: (7,), (2, 7).

    The interval is of a bootstrap of whole days, for errors within a day share its weather.
    """
    days = np.unique((departed_at - 5 * 3600) // 86400, return_inverse=True)[1]  # cut at midnight in New York (EST)
    by_day = np.zeros((2, days.max() + 1, 7))
    np.add.at(by_day[0], days, ours)
    np.add.at(by_day[1], days, theirs)
    n = by_day.shape[1]
    draws = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    sums = draws @ by_day  # (2, RESAMPLES, 7)
    interval = np.quantile(sums[0] / sums[1], [0.025, 0.975], axis=0)
    return 100 * (ours.sum(axis=0) / theirs.sum(axis=0) - 1), 100 * (interval - 1)


def markdown(header, rows):
    """Formats rows of strings as a Markdown table, numbers to the right."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def report(contenders, ours, seconds, flights):
    """Returns the report in Markdown on contenders, a dict from name to figures (flights, 7), of which ours are held
    against the peers; seconds by peer."""
    last = slice(FIRST_EVALUATED, None)
    targets = flights["arr_delay"][last]
    for name, figures in contenders.items():
        if lacking := np.count_nonzero(~np.isfinite(figures[last]).all(axis=1)):
            raise SystemExit(f"{name} lacks figures for {lacking} of the {len(targets)} evaluated flights")
    by_name = {name: losses(figures[last], targets) for name, figures in contenders.items()}
    means = np.column_stack([loss.mean(axis=0) for loss in by_name.values()])
    rows = [[metric, *(f"{mean:.5g}" for mean in means[k])] for k, metric in enumerate(METRICS)]
    pairs = [(name, peer) for name in ours for peer in ("linear", "trees")]
    against = [behind(by_name[name], by_name[peer], flights["departed_at"][last]) for name, peer in pairs]
    gaps = [
        [metric, *(f"{ratio[k]:+.1f} ({low[k]:+.1f} to {high[k]:+.1f})" for ratio, (low, high) in against)]
        for k, metric in enumerate(METRICS)
    ]
    shares = [
        [f"{level:g}", *(f"{np.mean(targets <= figures[last, k]):.4f}" for figures in contenders.values())]
        for k, level in enumerate(LEVELS)
    ]
    names = list(contenders)
    return "\n\n".join(
        [
            f"Mean losses over the {len(targets)} flights from number {FIRST_EVALUATED} on; less is better.",
            markdown(["metric", *names], rows),
            "More of the loss than a peer's, in % (95 % intervals, days resampled).",
            markdown(["metric", *(f"{name} : {peer}" for name, peer in pairs)], gaps),
            "Share of targets at or below each quantile.",
            markdown(["level", *names], shares),
            "Seconds taken: " + ", ".join(f"{name} {taken:.0f}" for name, taken in seconds.items()) + ".",
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, help="the flights, .csv or .csv.zst")
    parser.add_argument(
        "--scores", required=True, action="append", metavar="NAME=FILE", help="a replay's scores of them"
    )
    parser.add_argument("--out", help="a file for the report as well")
    arguments = parser.parse_args()
    flights = read_flights(arguments.data)
    order, known = targets_known(flights["departed_at"], flights["arrived_at"])
    named = [scores.partition("=") for scores in arguments.scores]
    contenders = {name: read_scores(path, len(known)) for name, _, path in named}
    ours, seconds = list(contenders), {}
    for peer in [rolling, linear, trees]:
        started = time.perf_counter()
        contenders[peer.__name__] = peer(flights, order, known)
        seconds[peer.__name__] = time.perf_counter() - started
    text = report(contenders, ours, seconds, flights)
    print(text)
    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
