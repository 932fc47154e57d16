# The environment, without the embedded PostgreSQL. The package's build brings GraphiQL, and what that is built with.
FROM python:3.13-slim AS build
WORKDIR /build
COPY locks locks
RUN python -m venv /opt/headwater \
    && /opt/headwater/bin/pip install --no-cache-dir --require-hashes --requirement locks/runtime.txt \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes --requirement locks/build.txt
COPY pyproject.toml MANIFEST.in constraints.txt README.md LICENSE ./
COPY graph_api graph_api
COPY schema schema
COPY db db
RUN PATH=/opt/build/bin:$PATH pip wheel --no-cache-dir --no-deps --no-build-isolation --config-settings graphiql=required \
       --wheel-dir /opt/wheel . \
    && /opt/headwater/bin/pip install --no-cache-dir --no-deps /opt/wheel/*.whl

FROM python:3.13-slim
RUN useradd --system --no-create-home --uid 10001 headwater
COPY --from=build /opt/headwater /opt/headwater
ENV PATH=/opt/headwater/bin:$PATH \
    HEADWATER_HOST=0.0.0.0
USER headwater
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/ready', timeout=2)"]
CMD ["headwater", "serve"]
