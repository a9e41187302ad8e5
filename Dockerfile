# The command and the server, with the embedded runtime. compose.yaml shows how to run it; docs/how-to/serve.md explains.
#
#   docker build -t routemoa .
#   docker run --rm routemoa --version
#
# No key and no weights are in the image: keys come from the environment, weights lie in the volume /models, and the
# ledger lies in the volume /data.

FROM python:3.13-slim-trixie AS build
WORKDIR /src
RUN python -m venv /opt/routemoa
ENV PATH=/opt/routemoa/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-deps --no-build-isolation .

FROM python:3.13-slim-trixie
# What llama.cpp is linked with. Debian keeps these compatible within a release, so the base image's tag pins them.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home routemoa \
    && install -d -o routemoa -g routemoa /data /models
COPY --from=build /opt/routemoa /opt/routemoa
ENV PATH=/opt/routemoa/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ROUTEMOA_STORE=/data/store.db \
    ROUTEMOA_CACHE=/models
USER 10001:10001
WORKDIR /home/routemoa
VOLUME ["/data", "/models"]
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
# Ctrl-C or SIGTERM: running answers are completed first.
STOPSIGNAL SIGTERM
ENTRYPOINT ["routemoa"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]
