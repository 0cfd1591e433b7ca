# The service: worker, beat, hooks, Flower, sandbox and migrations are commands of one image.
# docker build -t paceline .

ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /srv/paceline
RUN python -m venv /opt/venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY paceline paceline
# Editable, because the service's packages stand beside this one in its directory.
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt -e '.[service]'

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /srv/paceline --shell /usr/sbin/nologin paceline
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv/paceline
COPY . .
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PACELINE_CONFIG=/etc/paceline/paceline.toml
USER paceline
ENTRYPOINT ["/srv/paceline/docker/entrypoint.sh"]
CMD ["paceline", "--help"]
