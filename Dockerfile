# The image: the binary, the libraries it needs, certificates and two users' names; no shell and nothing else.
#
#   docker build --tag ghcr.io/tailwater/tailwater:0.1.0 .
#
# scripts/image.sh puts its root together, and tests it without Docker. For amd64 and arm64.

FROM docker.io/library/rust:1.95.0-bookworm AS build
# Of Debian's newest of each: these packages only build.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# libtorch first: it stays when only the code changes.
COPY scripts/libtorch.sh scripts/
RUN scripts/libtorch.sh
COPY . .
RUN scripts/setup.sh && scripts/image.sh root "$(scripts/binary.sh)" /image

FROM scratch
LABEL org.opencontainers.image.title="tailwater" \
      org.opencontainers.image.description="A Kafka stream operator that learns the tails of a target online and publishes how likely they are" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
USER 65532:65532
EXPOSE 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tailwater"]
CMD ["run", "--config", "/etc/tailwater/tailwater.toml"]
