# Perigee in a container; docs/operations.md says how to run it.
#
#     make image        builds perigee:VERSION with buildah, also without a registry
#     docker build --build-arg COMMIT=$(git rev-parse --short=12 HEAD) -t perigee .
#
# The final image is the program and the libraries it needs: no shell, no
# package manager, nothing to log in to.

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
WORKDIR /source
COPY tests/support/deps.sh tests/support/
RUN tests/support/deps.sh --build
COPY Makefile ./
COPY tests/tests.mk tests/
COPY config/image/rootfs.sh config/image/
COPY engine engine
ARG VERSION=
ARG COMMIT=unknown
RUN make -s -j"$(nproc)" all COMMIT="$COMMIT" ${VERSION:+VERSION="$VERSION"} \
    && config/image/rootfs.sh build/perigee /rootfs /writable \
    && rm -r build

FROM scratch
COPY --from=build /rootfs /
COPY config/default.lua config/staging.lua config/production.lua /perigee/config/
COPY --from=build --chown=10001:10001 /writable /perigee

# Settings, scripts and data are looked for below the working folder:
# config/$PERIGEE_ENV.lua, lua/aggregates/, projections/, data/.
WORKDIR /perigee
ENV PERIGEE_ENV=production
VOLUME /perigee/data
EXPOSE 8000 8001
USER 10001:10001

# The engine is process 1 and gets the signals itself.
ENTRYPOINT ["/usr/bin/perigee"]
CMD ["serve"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/bin/perigee", "health", "--ready"]

ARG VERSION=
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="Perigee" \
      org.opencontainers.image.description="Event sourcing with Lua scripts" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
