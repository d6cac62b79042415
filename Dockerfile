# The API with an ONNX model, without torch:
#   docker build -t news-api .
#   docker run -p 8004:8004 -e NEWS_API_KEY=… -v "$PWD/save_models:/app/save_models:ro" -v "$PWD/models_save:/app/models_save:ro" news-api
# Further flags of api.py go to the end of the line: … news-api --workers auto
FROM python:3.11-slim

ENV PYTHONUTF8=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 ORT_DISABLE_TELEMETRY=1
WORKDIR /app
COPY requirements-serve.txt .
RUN pip install -r requirements-serve.txt && useradd --system --no-create-home news
COPY . .
USER news
EXPOSE 8004
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8004/ready', timeout=2)"]
ENTRYPOINT ["python", "api.py"]
