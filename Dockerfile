# The registry on Debian's own Python: a small image that does not run as root, with one volume.
#
#   docker build -t v1registry .
#   docker run -p 5000:5000 -v /srv/registry:/var/lib/v1registry v1registry

# The tag gets security updates. For reproducible builds, pin its digest: see docs/install.md.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
# Versions of Debian packages are not pinned: Debian deletes old versions, and updates fix bugs.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates \
    && rm -rf /var/lib/apt/lists/*
# For a store in S3: --build-arg REQUIREMENTS=requirements-s3.txt; the same for other drivers.
ARG REQUIREMENTS=requirements.txt
COPY requirements*.txt /build/
# Every package is checked against its hash. The byte code is compiled here, because the user of the
# container may not write it.
RUN python3 -m venv /opt/v1registry \
    && pip="/opt/v1registry/bin/python -m pip --no-cache-dir" \
    && $pip install --require-hashes -r /build/requirements-pip.txt \
    && $pip install --require-hashes -r "/build/${REQUIREMENTS}" \
        -r /build/requirements-redis.txt -r /build/requirements-ldap.txt \
    && rm -rf /opt/v1registry/lib/python3*/site-packages/gevent/tests
WORKDIR /build
COPY . .
# The package itself. The build tools do not stay in the image.
RUN python3 -m venv --without-pip /tmp/builder \
    && pip="/opt/v1registry/bin/python -m pip --no-cache-dir" \
    && $pip --python /tmp/builder install --require-hashes -r requirements-build.txt \
    && /tmp/builder/bin/python -m hatchling build -t wheel -d /tmp/wheel \
    && $pip install --no-deps /tmp/wheel/*.whl \
    && cp scripts/healthcheck.py /opt/v1registry/ \
    && $pip uninstall -y pip setuptools \
    && /opt/v1registry/bin/python -m compileall -q /opt/v1registry

FROM ${BASE}
LABEL org.opencontainers.image.title="v1registry" \
      org.opencontainers.image.description="Docker Registry v1 protocol server" \
      org.opencontainers.image.licenses="Apache-2.0"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old \
    && groupadd --gid 1000 registry \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /var/lib/v1registry \
               --shell /usr/sbin/nologin registry \
    && install -d -o registry -g registry -m 0750 /var/lib/v1registry
COPY --from=build /opt/v1registry /opt/v1registry

# Numeric ids, so that Kubernetes can check that this is not root. The 0.x image ran as root: change
# the owner of its store once, see docs/upgrade.md.
USER 1000:1000
WORKDIR /opt/v1registry
ENV PATH=/opt/v1registry/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SETTINGS_FLAVOR=local \
    STORAGE_PATH=/var/lib/v1registry
VOLUME /var/lib/v1registry
EXPOSE 5000
# The image has no curl. The script uses HTTP or TLS, as the server does.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 \
    CMD ["python", "healthcheck.py"]
ENTRYPOINT ["v1registry"]
CMD ["serve"]
