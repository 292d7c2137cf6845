# Everything is built in the release profile: what is tested is what is shipped, and nothing is compiled twice.
# scripts/setup.sh tells cargo where libtorch and the build cache are.
.DEFAULT_GOAL := help
.PHONY: help setup demo test crash rules deploy lint docs bench soak watch sizing statistics published compare

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## check the system, fetch libtorch once
	@scripts/setup.sh

demo: setup ## the operator on a year of real flights, in one process
	cargo run --release -- demo

test: setup ## all tests: unit, property, oracle, and on a real Kafka (needs Java 17+ and Maven, or KAFKA_BROKERS)
	scripts/kafka.sh with cargo test --release
	scripts/browser.sh with cargo test --release --test browser -- --ignored
	scripts/tool.sh with promtool -- scripts/rules.sh
	scripts/tool.sh with prometheus promtool -- scripts/kafka.sh with cargo test --release --test kafka prometheus -- --ignored

rules: ## check and test the Prometheus rules
	scripts/tool.sh with promtool -- scripts/rules.sh

KILLS ?= 100
SEED ?= 1
crash: setup ## kill the operator KILLS times (100) under a SEED (1), and compare with a run that never crashed
	TAILWATER_CRASH_KILLS=$(KILLS) TAILWATER_CRASH_SEED=$(SEED) \
	  scripts/kafka.sh with cargo test --release --test kafka crash:: -- --nocapture --test-threads 1

lint: setup ## format and clippy, warnings are errors
	cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings

deploy: setup ## lint and test the deploy files: chart, manifests, image, tarball (needs Go)
	binary=$$(scripts/binary.sh) && scripts/deploy.sh test "$$binary" && scripts/image.sh test "$$binary" && scripts/package.sh test "$$binary"

docs: setup ## the API's documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --document-private-items

MODE ?=
ROUNDS ?= 3
bench: setup ## how close to the limit: kernels and growth, then on a real Kafka ratios over ROUNDS (3), latency and start, or only a MODE of growth and these three
	$(if $(MODE),,cargo bench --profile release --bench hot_path --bench kernels --bench pipeline --bench step)
	$(if $(filter-out growth,$(MODE)),,cargo bench --profile release --bench growth)
	$(if $(filter growth latency start,$(MODE)),,python=$$(scripts/python.sh benches/peer/requirements.txt) && export TAILWATER_PEER_PYTHON=$$python &&) \
	  $(if $(filter growth,$(MODE)),true,scripts/kafka.sh with cargo bench --profile release --bench throughput -- $(MODE) --rounds $(ROUNDS))

EVENTS ?= 200000
SEEDS ?= 1
statistics: setup ## streams of known truth through the operator: how far off EVENTS (200000) of each leave it, for SEEDS (1)
	cargo bench --profile release --bench statistics -- $(EVENTS) $(SEEDS)

SPLITS ?= 5
published: setup ## two small tables with published figures, learned in many passes over SPLITS (5) splits: some minutes
	cargo bench --profile release --bench published -- $(SPLITS)

KEYS ?=
compare: setup ## the flights: tailwater, also with KEYS set, against rolling quantiles, an online linear model and boosted trees
	scripts/compare.sh $(foreach key,$(KEYS),'$(key)')

sizing: setup ## what models of some sizes take: CPU, memory, bytes of state
	scripts/kafka.sh with cargo bench --profile release --bench delivery -- sizing

MINUTES ?= 10
soak: setup ## MINUTES (10) at full speed, and what memory does meanwhile
	scripts/kafka.sh with cargo bench --profile release --bench delivery -- soak $(MINUTES)

RATE ?= 1500
watch: setup ## MINUTES (10) at RATE (1500) events/s, watched by Prometheus with the shipped rules and by the live page: alerts, log, memory
	scripts/tool.sh with prometheus -- scripts/browser.sh with scripts/kafka.sh with \
	  cargo bench --profile release --bench delivery -- watch $(MINUTES) $(RATE)
