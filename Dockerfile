# The product image: Qdrant, and the entrypoint as PID 1, on a slim Debian without root. How to: docs/image.md.
#
#   docker build .                                          everything from source, Qdrant by qdrant-src/pin.toml with patches/
#   docker build --build-arg QDRANT_PATCHED=0 .             the same without patches/
#   docker build --build-arg QDRANT_FROM=official .         Qdrant, its configuration and dashboard from the official image
#   docker build --build-arg QDRANT_FROM=binary --build-context qdrant-binary=DIR .     DIR/qdrant as it is
#   docker build --build-arg ENTRYPOINT_FROM=binary --build-context entrypoint-binary=DIR .   DIR/entrypoint as it is
#   docker build --build-context qdrant-src=DIR .           Qdrant's source from DIR instead of the network
#   docker build --build-context web-ui=DIR .               the dashboard's files from DIR
#   docker build --target papers --output DIR .             SBOMs, licences and build notes beside the image
#   docker build --build-arg RELEASE=1 …                    refuses whatever is not pinned by digest or hash, and an unpatched Qdrant
#
# Needs BuildKit, which builds only the stages that are asked for. Where named contexts are not known (engines
# before 23), QDRANT_BINARY_IMAGE and ENTRYPOINT_BINARY_IMAGE name images whose root holds the binary.
# `cargo ci pin check` holds the defaults below to qdrant-src/pin.toml.
#
# What a change builds again: BuildKit compares what a COPY brings by content, so a stage that is run again and
# yields the same files stops there. Sources of the entrypoint or planner: these two crates alone. A patch: Qdrant's
# own crates. The pin or a lock file: the dependencies too. The `ci` crate: itself, and what it writes.

ARG RUST_IMAGE=rust:1.97.1-bookworm
ARG RUNTIME_BASE=debian:13-slim
ARG QDRANT_IMAGE=qdrant/qdrant:v1.19.0
# source | binary | official
ARG QDRANT_FROM=source
# source | binary
ARG ENTRYPOINT_FROM=source
ARG QDRANT_BINARY_IMAGE=scratch
ARG ENTRYPOINT_BINARY_IMAGE=scratch
# 1: Qdrant's source is patched (patches/). 0: it is built as it is.
ARG QDRANT_PATCHED=1
# A day of Debian's archive like 20261120T000000Z, so that the same packages are installed next year; empty: today's.
ARG APT_SNAPSHOT=


# ---- compilers ---------------------------------------------------------------------------------------------------

FROM ${RUST_IMAGE} AS compiler
ARG APT_SNAPSHOT
COPY image/apt.sh /image/
RUN sh /image/apt.sh "$APT_SNAPSHOT" \
        clang cmake libprotobuf-dev libunwind-dev lld pkg-config protobuf-compiler unzip
# Paths of this build are not those of its users: panics and debug information name /cargo and /rust.
ENV CARGO_INCREMENTAL=0 \
    CARGO_NET_RETRY=5 \
    RUSTFLAGS="-C link-arg=-fuse-ld=lld -C link-arg=-Wl,--build-id=sha1 --remap-path-prefix=/usr/local/cargo=/cargo --remap-path-prefix=/usr/local/rustup=/rust"


# ---- our workspace -----------------------------------------------------------------------------------------------

FROM ${RUNTIME_BASE} AS our-skeleton-made
COPY . /from/
RUN sh /from/image/skeleton.sh /from /skeleton

FROM scratch AS our-skeleton
COPY --from=our-skeleton-made /skeleton /

FROM compiler AS our-dependencies
WORKDIR /build
COPY --from=our-skeleton / .
# Downloads are a layer of their own: only a changed lock or manifest downloads again.
RUN cargo fetch --locked

# The tool that fetches, patches and writes SBOMs. Not in the image.
FROM our-dependencies AS tools
RUN cargo build --release --locked --package ci --config 'profile.release.lto=false'
COPY ci ci
RUN find ci -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --package ci --config 'profile.release.lto=false' \
    && install -D target/release/ci /tools/ci

FROM our-dependencies AS entrypoint-built
RUN cargo build --release --locked --package entrypoint
COPY qdrant-api qdrant-api
COPY planner planner
COPY entrypoint entrypoint
# The skeleton's files are newer than the sources that replace them; cargo goes by time.
RUN find qdrant-api planner entrypoint -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --package entrypoint
# Only now, so that a commit that touches nothing of it compiles nothing.
ARG REVISION=
COPY image/finish.sh /image/
RUN sh /image/finish.sh target/release/entrypoint /out entrypoint "revision=$REVISION"

FROM entrypoint-built AS entrypoint-from-source
COPY LICENSE /out/licenses/entrypoint/LICENSE
RUN --mount=type=bind,from=tools,source=/tools,target=/tools \
    /tools/ci image papers --workspace /build --package entrypoint --out /out

# Holds no binary unless --build-context entrypoint-binary=DIR or ENTRYPOINT_BINARY_IMAGE brings it. Never left wholly empty:
# BuildKit of engine 20.10 answers a copy from an empty stage with what an earlier build had copied there.
FROM ${ENTRYPOINT_BINARY_IMAGE} AS entrypoint-binary
COPY LICENSE /LICENSE

FROM ${RUNTIME_BASE} AS entrypoint-from-binary
COPY --from=entrypoint-binary / /given/
RUN test -f /given/entrypoint \
    || { echo 'ENTRYPOINT_FROM=binary needs --build-context entrypoint-binary=DIR with DIR/entrypoint' >&2; exit 1; }; \
    mkdir -p /out/licenses/entrypoint \
    && install /given/entrypoint /out/entrypoint \
    && install --mode 0644 /given/LICENSE /out/licenses/entrypoint/LICENSE \
    && mkdir /out/build && echo 'from = "binary"' >/out/build/entrypoint.toml

FROM entrypoint-from-${ENTRYPOINT_FROM} AS entrypoint-bin


# ---- Qdrant ------------------------------------------------------------------------------------------------------

FROM ${RUST_IMAGE} AS qdrant-fetch
ARG QDRANT_PIN=upstream
COPY qdrant-src/pin.toml qdrant-src/pinned.sh /pin/
RUN sh /pin/pinned.sh fetch "$QDRANT_PIN" /source

# The source and nothing else, so that --build-context qdrant-src=DIR can stand in for it.
FROM scratch AS qdrant-src
COPY --from=qdrant-fetch /source /

# The fetch has compared commit and tree. Of a source that was given only Cargo.lock can be compared: BuildKit leaves out what
# its .dockerignore names. A release takes no less than the whole tree, and so none that was given. Then it is patched unless
# that is not wanted. A patch that does not apply exactly as often as it says stops here.
FROM tools AS qdrant-patch
ARG QDRANT_PIN=upstream
ARG QDRANT_PATCHED
ARG RELEASE=
COPY --from=qdrant-src / /tree/
COPY qdrant-src/pin.toml qdrant-src/pinned.sh qdrant-src/
COPY patches patches
RUN sh qdrant-src/pinned.sh verify-lock "$QDRANT_PIN" /tree \
    && { [ "$RELEASE" != 1 ] || /tools/ci source verify --section "$QDRANT_PIN" --tree /tree; } \
    && case "$QDRANT_PATCHED" in \
        0) ;; \
        1) /tools/ci patch apply --any-release --tree /tree ;; \
        *) echo "QDRANT_PATCHED=$QDRANT_PATCHED: give 0 or 1" >&2; exit 1 ;; \
    esac

# Content alone decides below: the tool may have changed, the patched source has not.
FROM scratch AS qdrant-patched
COPY --from=qdrant-patch /tree /

FROM ${RUNTIME_BASE} AS qdrant-skeleton-made
COPY --from=qdrant-patched / /from/
COPY image/skeleton.sh /image/
RUN sh /image/skeleton.sh /from /skeleton

FROM scratch AS qdrant-skeleton
COPY --from=qdrant-skeleton-made /skeleton /

FROM compiler AS qdrant-dependencies
WORKDIR /qdrant
COPY --from=qdrant-skeleton / .
RUN cargo fetch --locked
# Pages of 64 KiB are what an arm64 kernel may have; an allocator made for smaller ones does not start on it.
ARG TARGETARCH
RUN if [ "$TARGETARCH" = arm64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi; \
    cargo build --release --locked --features stacktrace --bin qdrant

FROM qdrant-dependencies AS qdrant-built
COPY --from=qdrant-patched / .
COPY qdrant-src/pin.toml qdrant-src/pinned.sh /pin/
ARG QDRANT_PIN=upstream
ARG TARGETARCH
RUN if [ "$TARGETARCH" = arm64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi; \
    GIT_COMMIT_ID="$(sh /pin/pinned.sh get "$QDRANT_PIN" commit)" && export GIT_COMMIT_ID \
    && find . -name target -prune -o -type f -exec touch {} + \
    && cargo build --release --locked --features stacktrace --bin qdrant
COPY image/finish.sh /image/
# Which patches are in it is what the tree itself says.
RUN sh /image/finish.sh target/release/qdrant /out qdrant \
        "tag=$(sh /pin/pinned.sh get "$QDRANT_PIN" tag)" \
        "commit=$(sh /pin/pinned.sh get "$QDRANT_PIN" commit)" \
        "patches=$([ ! -f .qdrant-patches.json ] || sed -n '/"patches"/,/]/s/^ *"\([0-9][^"]*\)",\{0,1\}$/\1/p' .qdrant-patches.json | tr '\n' ' ')" \
    && cp -r config /out/config

FROM qdrant-built AS qdrant-papers
RUN --mount=type=bind,from=tools,source=/tools,target=/tools \
    install -D --mode 0644 LICENSE /out/licenses/qdrant/LICENSE \
    && /tools/ci image papers --workspace /qdrant --package qdrant --features stacktrace --out /out

# The dashboard, by the version and hash of the pin; without them the image goes without, and says so.
FROM compiler AS web-ui-fetch
COPY qdrant-src/pin.toml /pin/
COPY image/web-ui.sh /image/
RUN sh /image/web-ui.sh fetch /pin/pin.toml /static

# Stands apart, so that --build-context web-ui=DIR can stand in for it.
FROM scratch AS web-ui
COPY --from=web-ui-fetch /static /

FROM qdrant-papers AS qdrant-from-source
COPY --from=web-ui / /web-ui/
COPY image/web-ui.sh /image/
ARG RELEASE=
# Of a dashboard that was given a release takes only a copy of the pinned one.
RUN [ "$RELEASE" != 1 ] || sh /image/web-ui.sh verify /pin/pin.toml /web-ui
# With what upstream's own script puts beside the dashboard.
RUN if [ -f /web-ui/index.html ]; then \
        cp -r /web-ui /out/static && rm -f /out/static/.pinned && cp docs/redoc/master/openapi.json /out/static/openapi.json; \
    else \
        echo 'This image goes without the dashboard: pin.toml has no [webui] version and sha256.' | tee /out/build/no-dashboard.txt >&2; \
    fi

# Holds no binary unless --build-context qdrant-binary=DIR or QDRANT_BINARY_IMAGE brings it. Never left wholly empty:
# BuildKit of engine 20.10 answers a copy from an empty stage with what an earlier build had copied there.
FROM ${QDRANT_BINARY_IMAGE} AS qdrant-binary
COPY LICENSE /LICENSE

FROM ${RUNTIME_BASE} AS qdrant-from-binary
COPY --from=qdrant-binary / /given/
RUN test -f /given/qdrant \
    || { echo 'QDRANT_FROM=binary needs --build-context qdrant-binary=DIR with DIR/qdrant' >&2; exit 1; }; \
    mkdir -p /out/licenses/qdrant /out/build \
    && install /given/qdrant /out/qdrant \
    && for name in config static sbom licenses; do [ ! -d /given/$name ] || cp -r /given/$name /out/ || exit 1; done \
    && install --mode 0644 /given/LICENSE /out/licenses/qdrant/LICENSE \
    && echo 'from = "binary"' | tee /out/build/qdrant.toml

FROM ${QDRANT_IMAGE} AS qdrant-official

FROM ${RUNTIME_BASE} AS qdrant-from-official
COPY --from=qdrant-official /qdrant/qdrant /out/qdrant
COPY --from=qdrant-official /qdrant/qdrant.spdx.json /out/sbom/qdrant.spdx.json
COPY --from=qdrant-official /qdrant/config /out/config
COPY --from=qdrant-official /qdrant/static /out/static
# The same licence, word for word.
COPY LICENSE /out/licenses/qdrant/LICENSE
RUN mkdir /out/build && echo 'from = "official"' >/out/build/qdrant.toml

FROM qdrant-from-${QDRANT_FROM} AS qdrant-bin


# ---- beside the image --------------------------------------------------------------------------------------------

FROM ${RUNTIME_BASE} AS papers-gathered
RUN --mount=type=bind,from=qdrant-bin,source=/,target=/qdrant \
    --mount=type=bind,from=entrypoint-bin,source=/,target=/entrypoint \
    mkdir /papers \
    && for part in /qdrant/out /entrypoint/out; do \
        for kind in sbom licenses build; do [ ! -d "$part/$kind" ] || cp -r "$part/$kind" /papers/; done; \
    done \
    && for part in /qdrant/symbols /entrypoint/symbols; do [ ! -d "$part" ] || cp -r "$part" /papers/; done

# docker build --target papers --output DIR .
FROM scratch AS papers
COPY --from=papers-gathered /papers /


# ---- is it a release? --------------------------------------------------------------------------------------------

FROM ${RUNTIME_BASE} AS release-gate
ARG RELEASE=
ARG RUST_IMAGE
ARG RUNTIME_BASE
ARG QDRANT_FROM
ARG QDRANT_PATCHED
ARG QDRANT_PIN=upstream
ARG ENTRYPOINT_FROM
ARG VERSION=
ARG REVISION=
ARG CREATED=
ARG APT_SNAPSHOT
COPY qdrant-src/pin.toml image/release-gate.sh /gate/
RUN sh /gate/release-gate.sh /gate/pin.toml "RELEASE=$RELEASE" "QDRANT_FROM=$QDRANT_FROM" \
        "QDRANT_PATCHED=$QDRANT_PATCHED" "QDRANT_PIN=$QDRANT_PIN" "ENTRYPOINT_FROM=$ENTRYPOINT_FROM" "VERSION=$VERSION" \
        "REVISION=$REVISION" "CREATED=$CREATED" "APT_SNAPSHOT=$APT_SNAPSHOT" "RUST_IMAGE=$RUST_IMAGE" \
        "RUNTIME_BASE=$RUNTIME_BASE" \
    && mkdir /passed && echo "release = \"$RELEASE\"" >/passed/image.toml


# ---- what runs ---------------------------------------------------------------------------------------------------

FROM ${RUNTIME_BASE} AS runtime

# Qdrant panics at start without CA certificates; libunwind is for its stack traces. What the base
# has already is not asked for again, so that a base made on the spot needs no network here.
ARG APT_SNAPSHOT
RUN --mount=type=bind,source=image/apt.sh,target=/image/apt.sh \
    sh /image/apt.sh "$APT_SNAPSHOT" ca-certificates libunwind8 tzdata

# The directories belong to the user before they become volumes: Fargate and the engine copy owner and
# mode of the image's directory onto an empty volume.
RUN groupadd --gid 1000 qdrant \
    && useradd --uid 1000 --gid 1000 --home-dir /qdrant --no-create-home --shell /usr/sbin/nologin qdrant \
    && install --directory --mode 0755 /qdrant \
    && install --directory --owner 1000 --group 1000 --mode 0750 /qdrant/storage /qdrant/storage.proof /qdrant/snapshots

# Refused before anything else is built into it.
COPY --from=release-gate /passed/ /qdrant/build/
# Owned by root, so that nothing the service runs can rewrite itself. Qdrant first: it changes least.
COPY --from=qdrant-bin /out/ /qdrant/
COPY --from=entrypoint-bin /out/ /qdrant/
COPY LICENSE /qdrant/LICENSE

WORKDIR /qdrant
USER 1000:1000

# The init file would go into the working directory, which is read-only here.
ENV TZ=Etc/UTC \
    RUN_MODE=production \
    QDRANT_INIT_FILE_PATH=/tmp/.qdrant-initialized

# Everything that is written, but for /tmp. With a read-only root all three must be mounted; storage.proof is where a
# restored set is tried, and needs nothing to last.
VOLUME ["/qdrant/storage", "/qdrant/storage.proof", "/qdrant/snapshots"]

# REST, gRPC, peers, control. Only the first two and the control port's health checks belong to clients.
EXPOSE 6333 6334 6335 6336

STOPSIGNAL SIGTERM

# Says that PID 1's loop is alive, and nothing about quorum or load: a busy node must not be replaced.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/qdrant/entrypoint", "health"]

ARG VERSION=
ARG REVISION=
ARG CREATED=
ARG SOURCE=
ARG RUNTIME_BASE
ARG QDRANT_FROM
LABEL org.opencontainers.image.title="qdrant-ecs" \
      org.opencontainers.image.description="Identical container tasks become one Qdrant cluster that looks after itself" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.base.name="$RUNTIME_BASE" \
      qdrant-ecs.qdrant-from="$QDRANT_FROM"

ENTRYPOINT ["/qdrant/entrypoint"]
