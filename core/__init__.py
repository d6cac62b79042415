"""The rooms that all tasks share: text, model files, BERT, training, compression, measurement, serving.

Every script imports one of them before any library that could report to its maker; here all of those are told not to.
"""

import os

__version__ = "1.1.0"
TELEMETRY_OFF = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime; read when it is imported
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, transformers, accelerate
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",  # what some libraries agree on
}
os.environ.update(TELEMETRY_OFF)
