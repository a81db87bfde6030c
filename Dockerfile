# Two images from one file: `api` is small and has no torch, `worker` trains (CUDA comes with torch's own wheels).
# What they install is in locks/, each file with its hash; `make lock` writes those.

ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# The root is read-only where compose runs it: what libraries cache (CUDA, matplotlib, torch) goes where it may be written.
ENV HOME=/tmp
# The same numeric user in both images, since they share the data volume.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin stillhouse \
    && install -d -o stillhouse -g stillhouse /data
WORKDIR /app
COPY locks ./locks
COPY alembic.ini ./
COPY migrations ./migrations
ENV STILLHOUSE_DATA_DIR=/data
VOLUME /data

FROM base AS wheel
RUN pip install --only-binary=:all: --require-hashes -r locks/build.txt
COPY pyproject.toml README.md ./
COPY kd ./kd
COPY jobs ./jobs
COPY api ./api
COPY worker ./worker
COPY client ./client
COPY cli ./cli
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheel .

FROM base AS api
RUN pip install --only-binary=:all: --require-hashes -r locks/api.txt
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel pip install --no-index --no-deps /wheel/*.whl
USER stillhouse
EXPOSE 8000
# Published on loopback only, by compose.
CMD ["kd", "serve", "--no-worker", "--host", "0.0.0.0", "--port", "8000", "--allow-unauthenticated"]

FROM base AS worker
RUN pip install --only-binary=:all: --require-hashes -r locks/worker.txt
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel pip install --no-index --no-deps /wheel/*.whl
USER stillhouse
CMD ["celery", "-A", "worker.celery_app", "worker", "-P", "threads", "-c", "1", "--loglevel", "WARNING"]
