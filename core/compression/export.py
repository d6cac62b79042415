"""Export of any model of this project to ONNX, with its facts as metadata.

The attention of a BERT becomes onnxruntime's own operator, com.microsoft MultiHeadAttention: one node for what the
general exporter writes as a dozen, with the padding mask as it is. It leaves the dense layers
apart so that each can be quantized; `python -m experiments.shapes` holds the result against a plain export.
"""

import copy
import json
import logging
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.console import UserError
from core.files import atomic_write
from core.model_files import onnx_model
from core.model_files.facts import FORMAT_VERSION, Facts, inputs_of, is_per_token
from core.model_files.finite import NotFinite, is_finite
from core.model_files.module import CPU, run_module

TOLERANCE = 1e-4  # between the logits of PyTorch and of the FP32 export
OPSET = 20  # the first with Gelu as an operator


def export(model: nn.Module, path: Path, facts: Facts) -> None:
    """Write a model as an FP32 ONNX file, after comparing its logits with PyTorch's.

    Args:
        model: its inputs -> logits, on any device; it is left as it is.
        path: the file to write.
        facts: those that go with it, the same as in its checkpoint.

    Raises:
        UserError: onnx is missing, the model's logits are not those of PyTorch, or the file could not be written.
    """
    write(path, to_onnx(model, facts), facts)


def to_onnx(model: nn.Module, facts: Facts) -> bytes:
    """A model as a serialised FP32 ONNX graph, compared with PyTorch; see `export`."""
    import_onnx()
    plain = copy.deepcopy(model).cpu().eval()
    for part in plain.modules():
        if hasattr(part, "set_attn_implementation"):
            _fuse_attention(part)
    inputs = inputs_of(model)
    example = tuple(torch.ones(2, 4, dtype=torch.long) for _ in inputs)  # one tensor twice would be one input
    names = {"input_names": list(inputs), "output_names": ["logits"], "opset_version": OPSET}
    own = getattr(model, "axes", {})
    axes = {name: {0: "batch", 1: own.get(name, "seq")} for name in inputs}
    with quietly(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        if any(isinstance(part, nn.RNNBase) for part in plain.modules()):
            # torch.export would unroll the steps; the exporter before it knows ONNX's own LSTM.
            logits = {0: "batch", 1: "seq"} if is_per_token(model) else {0: "batch"}
            named_axes = {**axes, "logits": logits}
            torch.onnx.export(plain, example, file, dynamo=False, dynamic_axes=named_axes, **names)
        else:
            shapes = tuple(axes.values())
            program = torch.onnx.export(plain, example, dynamo=True, dynamic_shapes=shapes, verbose=False, **names)
            program.optimize()  # once more: what is used twice is a constant from now on, as INT8 wants weights to be
            program.save(file, external_data=False)
        content = file.read_bytes()
    check_logits(model, content, facts)
    return content


@contextmanager
def quietly() -> Iterator[None]:
    """Silence what exporters and quantizers say of their own internals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _fuse_attention(bert: Any) -> None:
    """Have a transformers model compute attention by onnxruntime's operator; it can only be exported after that."""
    from transformers import AttentionInterface, AttentionMaskInterface

    def attention(module: nn.Module, query, key, value, mask, scaling: float, **_: Any) -> tuple[torch.Tensor, None]:
        heads = query.shape[1]  # each layer has its own number once heads have been pruned
        query, key, value = (tensor.transpose(1, 2).flatten(2) for tensor in (query, key, value))
        output = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            (query, key, value, None, mask),
            {"num_heads": heads, "scale": scaling},
            dtype=query.dtype,
            shape=query.shape,
            version=1,
        )
        return output.unflatten(2, (heads, -1)), None

    def padding_mask(*_: Any, attention_mask: torch.Tensor, **__: Any) -> torch.Tensor:
        return attention_mask.to(torch.int32)

    AttentionInterface.register("onnxruntime", attention)
    AttentionMaskInterface.register("onnxruntime", padding_mask)
    bert.set_attn_implementation("onnxruntime")


def check_logits(model: nn.Module, content: bytes, facts: Facts) -> None:
    """Compare an FP32 export with PyTorch on batches of several sizes, with and without padding.

    What stands at padding counts for nothing and is not compared.

    Raises:
        NotFinite: one of the logits is NaN or infinite.
        UserError: a logit differs by more than 1e-4.
    """
    run = onnx_model.run_session(onnx_model.open_session(content, [onnx_model.CPU]))
    reference = run_module(copy.deepcopy(model), CPU)
    rng = np.random.default_rng(0)
    for lengths in ([3], [facts["max_length"]], [3, 7, 5], [facts["max_length"], 4]):
        mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
        arrays = {"input_ids": rng.integers(len(facts["vocab"]), size=mask.shape), "attention_mask": mask}
        small = rng.integers(2, size=mask.shape)  # what any other input may hold, be it ids, segments or places
        arrays = {name: arrays.get(name, small) for name in inputs_of(model)}
        found, wanted = (
            logits[mask == 1] if is_per_token(model) else logits for logits in (run(arrays), reference(arrays))
        )
        if not (is_finite(found) and is_finite(wanted)):
            raise NotFinite(None)
        difference = float(np.abs(found - wanted).max())
        if not difference <= TOLERANCE:
            raise UserError(
                f"the ONNX export gives other logits than PyTorch (by {difference:.1e}, lengths {lengths}): install "
                "the versions of torch, onnx and onnxruntime in requirements.txt"
            )


def write(path: Path, content: bytes, facts: Facts) -> None:
    """Write a serialised ONNX graph with its facts as metadata and its check sum, atomically."""
    onnx = import_onnx()
    model = onnx.load_from_string(content)
    kept = {"format_version": FORMAT_VERSION, **facts}
    onnx.helper.set_model_props(model, {"meta": json.dumps(kept, ensure_ascii=False)})
    content = model.SerializeToString()
    atomic_write(path, lambda file: file.write(content + onnx_model.seal(zlib.crc32(content))))


def import_onnx() -> Any:
    """The module onnx, once all that an export needs is known to be there.

    Raises:
        UserError: a package is not installed.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as fault:
        raise UserError(f"ONNX export needs {fault.name}: run `pip install -r requirements.txt`") from fault
    return onnx
