# syntax=docker/dockerfile:1.10
# Two images from one file: `api` is small and has no torch, `worker` trains (CUDA comes with torch's own wheels).

FROM python:3.12.12-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# The root is read-only where compose runs it: what libraries cache (CUDA, matplotlib, torch) goes where it may be written.
ENV HOME=/tmp
# The same numeric user in both images, since they share the data volume.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin stillhouse \
    && install -d -o stillhouse -g stillhouse /data
WORKDIR /app
COPY pyproject.toml constraints.txt README.md alembic.ini ./
COPY kd ./kd
COPY jobs ./jobs
COPY api ./api
COPY worker ./worker
COPY client ./client
COPY cli ./cli
COPY migrations ./migrations
ENV STILLHOUSE_DATA_DIR=/data
VOLUME /data

FROM base AS api
RUN pip install -c constraints.txt '.[api]'
USER stillhouse
EXPOSE 8000
# Published on loopback only, by compose.
CMD ["kd", "serve", "--no-worker", "--host", "0.0.0.0", "--port", "8000", "--allow-unauthenticated"]

FROM base AS worker
RUN pip install -c constraints.txt '.[worker,demo]'
USER stillhouse
CMD ["celery", "-A", "worker.celery_app", "worker", "-P", "threads", "-c", "1", "--loglevel", "WARNING"]
