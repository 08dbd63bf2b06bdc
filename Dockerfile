# The dashboard in its public mode: see docs/serving.md.
#   docker build -t bitlens .                                                  for CPUs
#   docker build -t bitlens --build-arg TORCH=https://download.pytorch.org/whl/cu126 .    for GPUs
FROM python:3.11-slim

ARG TORCH=https://download.pytorch.org/whl/cpu

RUN useradd --create-home --uid 1000 bitlens \
 && mkdir --parents /app /data \
 && chown bitlens:bitlens /app /data
USER bitlens
WORKDIR /app
ENV PATH=/home/bitlens/.local/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

COPY --chown=bitlens:bitlens requirements.txt ./
RUN pip install --user --no-cache-dir --extra-index-url "$TORCH" --requirement requirements.txt

COPY --chown=bitlens:bitlens . ./

# glibc's thresholds: see the Makefile. HF_HOME: weights of listed models.
ENV BITLENS_HOME=/data HF_HOME=/data/huggingface HOST=0.0.0.0 PORT=7860 \
    MALLOC_MMAP_THRESHOLD_=268435456 MALLOC_TRIM_THRESHOLD_=2147483648
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD python scripts/healthy.py

CMD ["python", "scripts/serve.py"]
