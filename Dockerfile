# syntax=docker/dockerfile:1
# One base family, Debian 12: the builder is Rust on it, the image is its slim form.
#
#   docker build -t oubliette .
#
# The first build compiles RocksDB (15 to 20 minutes on two cores); the cache mounts keep it. deploy/README.md: how to run it.

FROM rust:1.95-slim-bookworm AS build
# No versions: the base image fixes the release, and its security updates are wanted.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ libclang-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --locked --bins \
    && install -D --strip --mode=0755 --target-directory=/out target/debug/oubliette target/debug/oubliette-verify

FROM debian:bookworm-slim
COPY --from=build /out/oubliette /out/oubliette-verify /usr/bin/
# The folders of deploy/oubliette.toml, owned by the user below; named volumes take their owner from here.
RUN install -d -m 0700 -o 10001 -g 10001 \
    /var/lib/oubliette /var/lib/oubliette-keystore /var/lib/oubliette-keys \
    /var/lib/oubliette-vault /var/lib/oubliette-vault/a /var/lib/oubliette-vault/b
COPY deploy/oubliette.toml /etc/oubliette/oubliette.toml
COPY LICENSE LICENSE-APACHE LICENSE-MIT /usr/share/doc/oubliette/
ENV OUBLIETTE_CONFIG=/etc/oubliette/oubliette.toml \
    OUBLIETTE_LISTEN=0.0.0.0:7171
USER 10001:10001
# Each is a volume of its own, so the root may be read-only. Put the vault's two on devices of their own.
VOLUME ["/var/lib/oubliette", "/var/lib/oubliette-keystore", "/var/lib/oubliette-vault/a", "/var/lib/oubliette-vault/b", "/var/lib/oubliette-keys"]
EXPOSE 7171
STOPSIGNAL SIGTERM
# Asks /readyz at the listener of these settings. With TLS set OUBLIETTE_URL and OUBLIETTE_CA.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["oubliette", "health"]
ENTRYPOINT ["oubliette"]
CMD ["serve"]
