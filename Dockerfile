# The product image: Qdrant, and the entrypoint as PID 1, on a slim Debian without root.
#
#   docker build .                                          everything from source, Qdrant by qdrant-src/pin.toml
#   docker build --build-arg QDRANT_FROM=official .         Qdrant, its configuration and dashboard from the official image
#   docker build --build-arg QDRANT_FROM=binary --build-context qdrant-binary=DIR .     DIR/qdrant as it is
#   docker build --build-arg ENTRYPOINT_FROM=binary --build-context entrypoint-binary=DIR .   DIR/entrypoint as it is
#   docker build --build-context qdrant-src=DIR .           Qdrant's source from DIR instead of the network
#
# Needs BuildKit, which builds only the stages that are asked for. Where named contexts are not known (engines
# before 23), QDRANT_BINARY_IMAGE and ENTRYPOINT_BINARY_IMAGE name images whose root holds the binary.
# `cargo ci pin check` holds the defaults below to qdrant-src/pin.toml.

ARG RUST_IMAGE=rust:1.97.1-bookworm
ARG RUNTIME_BASE=debian:13-slim
ARG QDRANT_IMAGE=qdrant/qdrant:v1.19.0
# source | binary | official
ARG QDRANT_FROM=source
# source | binary
ARG ENTRYPOINT_FROM=source
ARG QDRANT_BINARY_IMAGE=scratch
ARG ENTRYPOINT_BINARY_IMAGE=scratch


# ---- the entrypoint ----------------------------------------------------------------------------------------------

FROM ${RUST_IMAGE} AS entrypoint-from-source
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --package entrypoint \
    && install -D target/release/entrypoint /out/entrypoint

# Holds no binary unless --build-context entrypoint-binary=DIR or ENTRYPOINT_BINARY_IMAGE brings it. Never left wholly empty:
# BuildKit of engine 20.10 answers a copy from an empty stage with what an earlier build had copied there.
FROM ${ENTRYPOINT_BINARY_IMAGE} AS entrypoint-binary
COPY LICENSE /LICENSE

FROM ${RUNTIME_BASE} AS entrypoint-from-binary
COPY --from=entrypoint-binary / /given/
RUN test -f /given/entrypoint \
    || { echo 'ENTRYPOINT_FROM=binary needs --build-context entrypoint-binary=DIR with DIR/entrypoint' >&2; exit 1; }; \
    install -D /given/entrypoint /out/entrypoint

FROM entrypoint-from-${ENTRYPOINT_FROM} AS entrypoint-bin


# ---- Qdrant ------------------------------------------------------------------------------------------------------

FROM ${RUST_IMAGE} AS qdrant-fetch
ARG QDRANT_PIN=upstream
COPY qdrant-src/pin.toml qdrant-src/pinned.sh /pin/
RUN sh /pin/pinned.sh fetch "$QDRANT_PIN" /source

# The source and nothing else, so that --build-context qdrant-src=DIR can stand in for it.
FROM scratch AS qdrant-src
COPY --from=qdrant-fetch /source /

FROM ${RUST_IMAGE} AS qdrant-from-source
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        clang cmake libprotobuf-dev libunwind-dev lld pkg-config protobuf-compiler \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /qdrant
COPY --from=qdrant-src / .
ARG QDRANT_PIN=upstream
COPY qdrant-src/pin.toml qdrant-src/pinned.sh /pin/
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/usr/local/cargo/git \
    --mount=type=cache,target=/qdrant/target \
    sh /pin/pinned.sh verify-lock "$QDRANT_PIN" . \
    && GIT_COMMIT_ID="$(sh /pin/pinned.sh get "$QDRANT_PIN" commit)" \
        RUSTFLAGS="-C link-arg=-fuse-ld=lld" \
        cargo build --release --locked --features stacktrace --bin qdrant \
    && install -D target/release/qdrant /out/qdrant \
    && cp -r config /out/config \
    && cp LICENSE /out/LICENSE.qdrant

# Holds no binary unless --build-context qdrant-binary=DIR or QDRANT_BINARY_IMAGE brings it. Never left wholly empty:
# BuildKit of engine 20.10 answers a copy from an empty stage with what an earlier build had copied there.
FROM ${QDRANT_BINARY_IMAGE} AS qdrant-binary
COPY LICENSE /LICENSE

FROM ${RUNTIME_BASE} AS qdrant-from-binary
COPY --from=qdrant-binary / /given/
RUN test -f /given/qdrant \
    || { echo 'QDRANT_FROM=binary needs --build-context qdrant-binary=DIR with DIR/qdrant' >&2; exit 1; }; \
    mkdir /out && cp -r /given/. /out/ && chmod 0755 /out/qdrant

FROM ${QDRANT_IMAGE} AS qdrant-official

FROM ${RUNTIME_BASE} AS qdrant-from-official
COPY --from=qdrant-official /qdrant/qdrant /out/qdrant
COPY --from=qdrant-official /qdrant/qdrant.spdx.json /out/qdrant.spdx.json
COPY --from=qdrant-official /qdrant/config /out/config
COPY --from=qdrant-official /qdrant/static /out/static

FROM qdrant-from-${QDRANT_FROM} AS qdrant-bin


# ---- what runs ---------------------------------------------------------------------------------------------------

FROM ${RUNTIME_BASE} AS runtime

# Qdrant panics at start without CA certificates; libunwind is for its stack traces. What the base
# has already is not asked for again, so that a base made on the spot needs no network here.
RUN missing=''; \
    for package in ca-certificates libunwind8 tzdata; do \
        dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep --quiet '^installed$' \
            || missing="$missing $package"; \
    done; \
    if [ -n "$missing" ]; then \
        apt-get update \
        && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing \
        && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* /var/lib/dpkg/status-old /var/log/*; \
    fi

# The directories belong to the user before they become volumes: Fargate and the engine copy owner and
# mode of the image's directory onto an empty volume.
RUN groupadd --gid 1000 qdrant \
    && useradd --uid 1000 --gid 1000 --home-dir /qdrant --no-create-home --shell /usr/sbin/nologin qdrant \
    && install --directory --mode 0755 /qdrant \
    && install --directory --owner 1000 --group 1000 --mode 0750 /qdrant/storage /qdrant/storage.proof /qdrant/snapshots

# Owned by root, so that nothing the service runs can rewrite itself.
COPY --from=qdrant-bin /out/ /qdrant/
COPY --from=entrypoint-bin /out/entrypoint /qdrant/entrypoint
COPY LICENSE /qdrant/LICENSE

WORKDIR /qdrant
USER 1000:1000

# The init file would go into the working directory, which is read-only here.
ENV TZ=Etc/UTC \
    RUN_MODE=production \
    QDRANT_INIT_FILE_PATH=/tmp/.qdrant-initialized

VOLUME ["/qdrant/storage", "/qdrant/snapshots"]

# REST, gRPC, peers, control. Only the first two and the control port's health checks belong to clients.
EXPOSE 6333 6334 6335 6336

STOPSIGNAL SIGTERM

# Says that PID 1's loop is alive, and nothing about quorum or load: a busy node must not be replaced.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/qdrant/entrypoint", "health"]

LABEL org.opencontainers.image.title="qdrant-ecs" \
      org.opencontainers.image.description="Identical container tasks become one Qdrant cluster that looks after itself" \
      org.opencontainers.image.licenses="Apache-2.0"

ENTRYPOINT ["/qdrant/entrypoint"]
