# One image for every service: the same program, another command each.
#
#   docker build -t streamweaver .
#   docker build --build-arg EXTRAS=compression --build-arg PLUGINS="my-plugin==1.2" -t mine .
#
# What is installed is pinned with hashes (compose/image/*.txt; `make image-lock` renews them). Two builds of the same
# sources hold the same files; with BuildKit also the same digest: --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
# --output type=image,rewrite-timestamp=true. To pin the base as well, give PYTHON_IMAGE with its digest.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
# pip stays in an environment of its own, so that none is in what runs.
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/streamweaver
COPY compose/image/build-requirements.txt compose/image/requirements.txt compose/image/
RUN /tools/bin/pip install --quiet --require-hashes --requirement compose/image/build-requirements.txt
RUN /tools/bin/pip --python /opt/streamweaver/bin/python install --quiet --no-compile --require-hashes \
    --requirement compose/image/requirements.txt
COPY . .
# The dashboard's page is taken as it is when it fits its sources, else it is built here.
RUN /tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /tools/bin/pip --python /opt/streamweaver/bin/python install --quiet --no-compile --no-deps /wheels/*.whl
# Extras of the package (comma-separated), and further distributions with plugins (space-separated).
ARG EXTRAS=""
ARG PLUGINS=""
RUN if [ -n "${EXTRAS}${PLUGINS}" ]; then \
        /tools/bin/pip --python /opt/streamweaver/bin/python install --quiet --no-compile \
            --find-links /wheels "streamweaver[${EXTRAS}]" ${PLUGINS}; \
    fi
# Compiled once, by content and not by time: the root is read-only where it runs, and builds stay alike.
RUN find /opt/streamweaver -name direct_url.json -delete \
    && /tools/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/streamweaver/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=""
LABEL org.opencontainers.image.title="StreamWeaver" \
      org.opencontainers.image.description="Plugins for data streams, wired in YAML, on an embedded log or Apache Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN echo 'streamweaver:x:10001:10001::/var/lib/streamweaver:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'streamweaver:x:10001:' >> /etc/group \
    && install -d -o 10001 -g 10001 /var/lib/streamweaver
COPY --from=build /opt/streamweaver /opt/streamweaver
# /dev/shm can be written also where the root cannot, and each container has its own.
ENV PATH=/opt/streamweaver/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    STREAMWEAVER_HEALTH_FILE=/dev/shm/streamweaver-healthy
USER 10001:10001
# What a pipeline keeps (--data) lies below the folder in which it is started.
WORKDIR /var/lib/streamweaver
VOLUME /var/lib/streamweaver
STOPSIGNAL SIGTERM
# `pipeline up` renews the file every second while its stages are well.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD test -n "$(find "$STREAMWEAVER_HEALTH_FILE" -newermt '15 seconds ago')"
ENTRYPOINT ["streamweaver"]
CMD ["--help"]
