# One replica of Sexton. Without arguments it migrates if need be and allowed, applies /etc/sexton/*.toml, and
# runs (scripts/entrypoint); arguments go to `sexton`, as in `docker run … sexton jobs`.
#
#   docker build --tag sexton .
#   docker run --env DATABASE_URL=postgres://… --volume ./sexton.toml:/etc/sexton/sexton.toml:ro sexton

FROM rust:1-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin sexton

FROM debian:bookworm-slim
# The root certificates, for sslrootcert=system.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /nonexistent --shell /usr/sbin/nologin sexton
COPY --from=build /build/target/release/sexton /usr/local/bin/sexton
COPY --chmod=755 scripts/entrypoint /usr/local/bin/sexton-entrypoint
USER 10001:10001
# SIGTERM drains: give it time with `docker stop --time` or terminationGracePeriodSeconds.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/sexton-entrypoint"]
