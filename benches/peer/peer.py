"""What one would write today in Python in tailwater's place: the same net over the same flights, from Kafka to Kafka.

It reads the JSON in batches of 256, scores each batch before it learns from it (one Adam step), and publishes the scores
as Arrow, in a transaction each 200 ms with the offsets in it. It is tailwater's net of the default config: squashed
inputs, one-hot categories, tanh layers, a linear path to the location, four radial flows and a tail layer.

It does less than tailwater: a target is learned from at once, although it is known hours later only; outcomes are not
published, whole minutes are taken for points, there is no baseline beside the net, no watch over the figures, no rejects,
and nothing of the model is saved.

Run it as: peer.py --brokers HOST:PORT --group NAME --input TOPIC --output TOPIC
"""

import argparse
import math
import time

import numpy as np
import orjson
import pyarrow as pa
import torch
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from torch import nn

BATCH = 256  # events
COMMIT_S = 0.2
CLAMP = 100.0  # standard deviations
WARM_UP = 2048  # events that set the standardisation before anything is learned

NUMBERS = ["dep_delay", "distance", "temp", "wind_speed", "precip", "visib"]
LOG1P = [1, 4]  # of the numbers: distance and precip
PERIODS = {"hour": 24, "dow": 7, "month": 12}
CATEGORIES = {"carrier": 64, "origin": 64, "dest": 128}  # each with a column for the rest
TARGET = "arr_delay"
THRESHOLDS = [15.0, 60.0, 180.0]  # minutes
LEVELS = [0.5, 0.9, 0.99, 0.999]

HIDDEN = 32
NUM_RADIAL = 4
LEARNING_RATE = 1e-3
CLIP = 5.0
AVERAGE = 0.95
MAX_INDEX = 2.0


class Inputs:
    """From events to tensors; the vocabularies grow as values come, and the standardisation is that of the warm-up."""

    def __init__(self) -> None:
        self.vocabularies: dict[str, dict[str, int]] = {name: {} for name in CATEGORIES}
        self.center = self.scale = None
        self.target_center, self.target_scale = 0.0, 1.0

    def read(self, events: list[dict]) -> tuple[np.ndarray, np.ndarray, torch.Tensor, np.ndarray]:
        """Numbers (NaN where missing), cycles, categories, targets."""
        numbers = np.array([[event.get(name, math.nan) for event in events] for name in NUMBERS], dtype=np.float64).T
        numbers[:, LOG1P] = np.log1p(numbers[:, LOG1P])
        angles = np.array([[event.get(name, math.nan) for event in events] for name in PERIODS], dtype=np.float64).T
        angles *= 2 * np.pi / np.array(list(PERIODS.values()))
        cycles = np.nan_to_num(np.concatenate([np.sin(angles), np.cos(angles)], axis=1))
        categories = [self.ids(name, [event.get(name) for event in events]) for name in CATEGORIES]
        targets = np.array([event[TARGET] for event in events], dtype=np.float64)
        return numbers, cycles, torch.from_numpy(np.array(categories)), targets

    def ids(self, name: str, values: list[str | None]) -> list[int]:
        """Each value's number; what comes too late for one of its own shares the last."""
        vocabulary = self.vocabularies[name]
        for value in sorted(set(values) - vocabulary.keys(), key=str):
            vocabulary[value] = min(len(vocabulary), CATEGORIES[name])
        return [vocabulary[value] for value in values]

    def fit(self, numbers: np.ndarray, targets: np.ndarray) -> None:
        spread = np.nanstd(numbers, axis=0)
        self.center, self.scale = np.nanmean(numbers, axis=0), np.where(spread > 0, spread, 1.0)
        self.target_center, self.target_scale = targets.mean(), targets.std()

    def dense(self, numbers: np.ndarray, cycles: np.ndarray) -> torch.Tensor:
        standard = np.clip((numbers - self.center) / self.scale, -CLAMP, CLAMP)
        missing = np.isnan(standard)
        return torch.from_numpy(np.concatenate([np.where(missing, 0.0, standard), missing, cycles], axis=1)).float()

    def standard(self, minutes: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((minutes - self.target_center) / self.target_scale).float()


def squash(x: torch.Tensor) -> torch.Tensor:
    """The identity up to 3, and logarithmic beyond."""
    size = x.abs()
    return torch.where(size <= 3.0, x, torch.sign(x) * (3.0 + torch.log1p((size - 3.0).clamp(min=0.0))))


class Net(nn.Module):
    """From inputs to the flow's parameters."""

    def __init__(self) -> None:
        super().__init__()
        num_dense = 2 * len(NUMBERS) + 2 * len(PERIODS)
        self.dense = nn.Linear(num_dense, HIDDEN)
        self.categories = nn.ModuleList(nn.Embedding(size + 1, HIDDEN) for size in CATEGORIES.values())
        self.hidden = nn.Linear(HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, 3 * NUM_RADIAL + 4)
        self.linear = nn.Linear(num_dense, 1, bias=False)
        for layer in (*self.categories, self.out, self.linear):
            nn.init.normal_(layer.weight, std=0.01)
        with torch.no_grad():
            radial = torch.full((NUM_RADIAL, 3), 0.5413)  # softplus of it is 1: no bend yet
            radial[:, 2] = torch.linspace(-1.5, 1.5, NUM_RADIAL)  # the centres
            self.out.bias.copy_(torch.cat([radial.ravel(), torch.tensor([0.0, 0.0, -2.94, -2.94])]))

    def forward(self, dense: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        first = self.dense(squash(dense)) + sum(embedding(ids) for embedding, ids in zip(self.categories, categories))
        params = self.out(torch.tanh(self.hidden(torch.tanh(first))))
        location = params[:, -4:-3] + self.linear(dense)
        return torch.cat([params[:, :-4], location, params[:, -3:]], dim=1)


class Flow:
    """The flow of each event of a batch; points are (events, points)."""

    def __init__(self, params: torch.Tensor) -> None:
        radial = params[:, : 3 * NUM_RADIAL].reshape(-1, NUM_RADIAL, 3, 1)
        self.alpha = 0.01 + nn.functional.softplus(radial[:, :, 0])
        self.beta = 0.001 - 1.0 + nn.functional.softplus(radial[:, :, 1])
        self.gamma = radial[:, :, 2]
        self.location, self.log_scale = params[:, -4:-3], params[:, -3:-2]
        self.indices = MAX_INDEX * torch.sigmoid(params[:, -2:])

    def index(self, side: torch.Tensor) -> torch.Tensor:
        """The tail index of the side that a point is on."""
        return torch.where(side >= 0, self.indices[:, 1:], self.indices[:, :1])

    def to_base(self, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where points lie on the standard normal base, and the logarithm of the slope there."""
        a = (y - self.location) * torch.exp(-self.log_scale)
        t = self.index(a) * a * a
        shrink = torch.log1p(t) / t.clamp(min=1e-12)
        shrink = torch.where(t > 1e-6, shrink, 1.0 - 0.5 * t)
        z = a * torch.sqrt(shrink)
        log_slope = -0.5 * torch.log(shrink) - torch.log1p(t) - self.log_scale
        for layer in reversed(range(NUM_RADIAL)):
            alpha, beta, gamma = self.alpha[:, layer], self.beta[:, layer], self.gamma[:, layer]
            k = alpha / (alpha + (z - gamma).abs())
            z = z + beta * k * (z - gamma)
            log_slope = log_slope + torch.log1p(beta * k * k)
        return z, log_slope

    def to_data(self, z: torch.Tensor) -> torch.Tensor:
        for layer in range(NUM_RADIAL):
            alpha, beta, gamma = self.alpha[:, layer], self.beta[:, layer], self.gamma[:, layer]
            distance = (z - gamma).abs()
            b = alpha * (1.0 + beta) - distance
            r = 0.5 * (torch.sqrt(b * b + 4.0 * alpha * distance) - b)
            z = gamma + torch.sign(z - gamma) * r
        rise = self.index(z) * z * z
        stretch = torch.where(rise > 1e-6, torch.expm1(rise) / rise.clamp(min=1e-12), 1.0 + 0.5 * rise)
        return self.location + z * torch.sqrt(stretch) * torch.exp(self.log_scale)

    def log_density(self, y: torch.Tensor) -> torch.Tensor:
        z, log_slope = self.to_base(y)
        return log_slope - 0.5 * z * z - 0.5 * math.log(2 * math.pi)


class Model:
    """Scores a batch, then learns from it."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.inputs, self.net, self.scoring = Inputs(), Net(), Net().requires_grad_(False)
        self.scoring.load_state_dict(self.net.state_dict())
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=LEARNING_RATE, fused=True)
        self.base_quantiles = torch.special.ndtri(torch.tensor(LEVELS)).unsqueeze(0)
        self.warm_up: list[tuple[np.ndarray, np.ndarray]] = []
        self.num_seen = 0

    def step(self, events: list[dict]) -> dict[str, np.ndarray] | None:
        """The batch's figures; nothing during the warm-up."""
        numbers, cycles, categories, targets = self.inputs.read(events)
        if self.num_seen < WARM_UP:
            self.warm_up.append((numbers, targets))
            self.num_seen += len(events)
            if self.num_seen >= WARM_UP:
                self.inputs.fit(*(np.concatenate(parts) for parts in zip(*self.warm_up)))
            return None
        dense, y = self.inputs.dense(numbers, cycles), self.inputs.standard(targets).unsqueeze(1)
        with torch.inference_mode():
            figures = self.score(dense, categories, y)
        self.learn(dense, categories, y)
        return figures

    def score(self, dense: torch.Tensor, categories: torch.Tensor, y: torch.Tensor) -> dict[str, np.ndarray]:
        inputs = self.inputs
        params = self.scoring(dense, categories)
        flow = Flow(params)
        thresholds = inputs.standard(np.array(THRESHOLDS)).expand(len(y), -1)
        exceed = torch.special.ndtr(-flow.to_base(thresholds)[0])
        quantiles = inputs.target_center + inputs.target_scale * flow.to_data(self.base_quantiles.expand(len(y), -1))
        log_score = flow.log_density(y)[:, 0] - math.log(inputs.target_scale)
        figures = {f"p_gt_{threshold:g}": column for threshold, column in zip(THRESHOLDS, exceed.T)}
        figures |= {f"q{level:g}": column for level, column in zip(LEVELS, quantiles.T)}
        figures["log_score"] = log_score
        return {name: column.double().numpy() for name, column in figures.items()} | {"params": params.numpy()}

    def learn(self, dense: torch.Tensor, categories: torch.Tensor, y: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss = -Flow(self.net(dense, categories)).log_density(y).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        self.optimizer.step()
        with torch.no_grad():
            own, trained = list(self.scoring.parameters()), list(self.net.parameters())
            torch._foreach_lerp_(own, trained, 1.0 - AVERAGE)


def to_arrow(events: list[dict], offsets: list[int], figures: dict[str, np.ndarray] | None) -> bytes:
    """A batch as an Arrow IPC stream."""
    columns = {
        "offset": pa.array(offsets, pa.int64()),
        "time": pa.array([event["departed_at"] * 1_000_000 for event in events], pa.timestamp("us", "UTC")),
        "flight": pa.array([event["flight"] for event in events]),
        "carrier": pa.array([event["carrier"] for event in events]),
    }
    if figures is not None:
        params = figures.pop("params")
        columns |= {name: pa.array(column) for name, column in figures.items()}
        columns["params"] = pa.FixedSizeListArray.from_arrays(pa.array(params.ravel()), params.shape[1])
    batch = pa.RecordBatch.from_pydict(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("brokers", "group", "input", "output"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()

    torch.set_num_threads(1)  # more of them cost more than they give at 256 rows
    consumer = Consumer(
        {
            "bootstrap.servers": args.brokers,
            "group.id": args.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
        }
    )
    consumer.subscribe([args.input])
    producer = Producer(
        {
            "bootstrap.servers": args.brokers,
            "transactional.id": args.group,
            "linger.ms": 5,
            "compression.type": "lz4",
        }
    )
    producer.init_transactions()

    model = Model()
    is_open, next_commit, positions = False, 0.0, {}
    while True:
        messages = consumer.consume(BATCH, timeout=0.05)
        for message in messages:
            if message.error() and message.error().code() != KafkaError._PARTITION_EOF:
                raise KafkaException(message.error())
        messages = [message for message in messages if not message.error()]
        if messages:
            events = orjson.loads(b"[" + b",".join(message.value() for message in messages) + b"]")
            offsets = [message.offset() for message in messages]
            payload = to_arrow(events, offsets, model.step(events))
            if not is_open:
                producer.begin_transaction()
                is_open, next_commit = True, time.monotonic() + COMMIT_S
            producer.produce(args.output, payload)
            producer.poll(0)
            positions |= {message.partition(): message.offset() + 1 for message in messages}
        if is_open and time.monotonic() >= next_commit:
            next_offsets = [TopicPartition(args.input, partition, offset) for partition, offset in positions.items()]
            producer.send_offsets_to_transaction(next_offsets, consumer.consumer_group_metadata())
            producer.commit_transaction()
            is_open = False


if __name__ == "__main__":
    main()
