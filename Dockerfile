# One image, roles by command (see docker-compose.yml). Three stages: the console, the packages, the result.
# syntax=docker/dockerfile:1

FROM node:24-slim AS console
WORKDIR /src/web/console
COPY web/console/package.json web/console/package-lock.json web/console/.npmrc ./
# Not `npm ci`: see dev.py, which does the same.
RUN npm install --no-save --no-audit --no-fund
COPY web/console/ ./
RUN npm run build

FROM python:3.13-slim AS packages
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy PIP_NO_CACHE_DIR=1
RUN pip install uv==0.13.9 && python -m venv /opt/venv
WORKDIR /app
COPY requirements.lock ./
RUN uv pip sync --require-hashes --python /opt/venv/bin/python requirements.lock
COPY pyproject.toml requirements.in README.md celeryconfig.py flowerconfig.py alembic.ini ./
COPY platform/ platform/
COPY tasks/ tasks/
COPY web/ web/
COPY alembic/ alembic/
RUN rm -rf web/console && uv pip install --no-deps --python /opt/venv/bin/python -e .

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin tenure \
    && install -d -o 10001 -g 10001 /data
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages /app /app
COPY --from=console /src/web/static/console /app/web/static/console
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    TENURE_ENV=production TENURE_DATA_DIR=/data
USER 10001:10001
EXPOSE 8080
# The process is PID 1 and gets SIGTERM itself: a worker must hear it once, in its parent.
CMD ["python", "-m", "gunicorn", "-c", "web/gunicorn.conf.py", "--bind", "0.0.0.0:8080", "web:create_app()"]
