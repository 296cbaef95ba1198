# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the Torsion authors
#
# Two stages: one builds with the compiler and the headers of libuv, liburing, OpenSSL and zlib, the
# other has what a server needs to run and nothing else.
#
#   docker build --tag torsion .
#   docker run --rm --publish 8007:8007 torsion
#
# The command is `torsion echo`, whose package is in Tool/. For a server of your own copy this file,
# and change PACKAGE (`.` if its manifest is at the top), PRODUCT and the last line.

FROM swift:6.2-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends liburing-dev libssl-dev libuv1-dev pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
# The manifests first, so that a change of the sources does not fetch the dependencies again.
ARG PACKAGE=Tool
COPY Package.swift ./
COPY $PACKAGE/Package.swift $PACKAGE/Package.resolved* $PACKAGE/
RUN swift package --package-path "$PACKAGE" resolve
COPY . .
ARG PRODUCT=torsion
# Swift's own libraries go into the program, since the second stage has no Swift; what is left is
# the C++ runtime, libuv, liburing, OpenSSL and zlib (`ldd /program`).
RUN swift build --package-path "$PACKAGE" --configuration release --product "$PRODUCT" --static-swift-stdlib \
    && cp "$(swift build --package-path "$PACKAGE" --configuration release --show-bin-path)/$PRODUCT" /program

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libssl3 libstdc++6 liburing2 libuv1 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home --shell /usr/sbin/nologin torsion
COPY --from=build /program /usr/local/bin/program
USER torsion
EXPOSE 8007
# The program is process 1, which gets `docker stop`'s SIGTERM itself and ends gracefully.
ENTRYPOINT ["/usr/local/bin/program"]
CMD ["echo", "--listen", "tcp:8007"]
