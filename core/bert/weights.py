"""The weights of a BERT: read from its folder, given BERT's own names, and fitted to its config without gaps."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.bert.distilbert import bert_names
from core.bert.folder import find_shards, not_a_bert, read_bert_config, read_model_type, refuse_weights_stub
from core.bert.shape import BERT_SIZES, Weights
from core.console import UserError

WORDS = "embeddings.word_embeddings.weight"  # which every BERT has; what stands before it is a prefix
LEGACY = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")  # in older files: not weights, but counts
OTHERS = ("roberta", "albert", "distilbert", "deberta", "electra", "ernie", "nezha")  # of the same names within


def read_pretrained(bert_class: type[nn.Module], folder: Path) -> tuple[nn.Module, set[str]]:
    """A BERT from a folder in FP32, and the names of the weights that the folder lacks.

    Args:
        bert_class: BertModel, or one of its kin in transformers.
        folder: with config.json and weights; what has a pooler or another head may lack those of it, which are random.

    Raises:
        UserError: the weights are damaged or pickled, or do not fit config.json to the last one.
    """
    from transformers import BertConfig
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    bert_config = read_bert_config(folder)
    raw = {name: tensor for path in find_shards(folder) for name, tensor in _read_file(path).items()}
    model_type = read_model_type(folder)
    if model_type == "distilbert":
        raw = bert_names(raw)
    prefix = find_prefix(raw, folder)
    if model_type == "roberta":
        named_bert = prefix.endswith("bert.") or bert_config.get("pad_token_id") == 0
        if not named_bert or any("lm_head." in name for name in raw):
            raise not_a_bert(folder, "true RoBERTa")
        print(f"{folder}: config.json says roberta, the weights are a BERT's (as RoBERTa-wwm's are): read as a BERT")
    weights = own_names(raw, prefix)
    layers = (BERT_SIZES | bert_config)["num_hidden_layers"]
    found = 1 + max(
        (int(name.split(".")[2]) for name in weights if re.match(r"encoder\.layer\.\d+\.", name)), default=-1
    )
    if found != layers:
        raise _does_not_fit(folder, f"they have {found} layers, num_hidden_layers says {layers}")
    config = BertConfig(**bert_config)
    with torch.device("meta"):
        wanted = bert_class(config).state_dict()
    before = "bert." if f"bert.{WORDS}" in wanted else ""
    weights = {name if name.startswith("cls.") else before + name: tensor for name, tensor in weights.items()}
    _check(weights, wanted, before, folder)
    weights = {name: tensor for name, tensor in weights.items() if name in wanted}
    bert, report = bert_class.from_pretrained(
        None, config=config, state_dict=weights, local_files_only=True, dtype=torch.float32, output_loading_info=True
    )
    return bert, set(report["missing_keys"])


def find_prefix(weights: Weights, folder: Path) -> str:
    """What stands before the names of a BERT's weights: "", "bert.", "module.bert.", …

    Raises:
        UserError: there is no BERT among them, several, or a model of another kind.
    """
    prefixes = sorted(name.removesuffix(WORDS) for name in weights if re.search(rf"(^|\.){re.escape(WORDS)}$", name))
    if not prefixes:
        raise _does_not_fit(folder, f"no bert.{WORDS}")
    if len(prefixes) > 1:
        raise _does_not_fit(folder, f"{len(prefixes)} models in one file, {' and '.join(prefixes)}"[:200])
    for part in prefixes[0].split("."):
        if part in OTHERS:
            raise not_a_bert(folder, {"roberta": "true RoBERTa"}.get(part, part))
    return prefixes[0]


def own_names(weights: Weights, prefix: str) -> Weights:
    """The weights of encoder, pooler and masked-language-model head (`cls.`) by BERT's names; no others."""
    inner, outer = {}, prefix.removesuffix("bert.")
    for name, tensor in weights.items():
        for old, new in LEGACY.items():
            name = name.removesuffix(old) + new if name.endswith(old) else name
        own = name.removeprefix(prefix)
        if name.startswith(prefix) and own.startswith(("embeddings.", "encoder.", "pooler.")) and own not in BUFFERS:
            inner[own] = tensor
        elif name.startswith(f"{outer}cls."):
            inner[name.removeprefix(outer)] = tensor
    return inner


def _check(weights: Weights, wanted: Weights, before: str, folder: Path) -> None:
    """Refuse weights that leave a gap in a model, or that it has no place for; `cls.` and the whole pooler may lack."""
    pooler = any(name.startswith(f"{before}pooler.") for name in weights)
    optional = ("cls.",) if pooler else ("cls.", f"{before}pooler.")
    if missing := [name for name in wanted if name not in weights and not name.startswith(optional)]:
        raise _does_not_fit(folder, f"no {min(missing)}")
    extra = [name for name in weights if name not in wanted and not name.startswith(("cls.", f"{before}pooler."))]
    if extra:
        raise _does_not_fit(folder, f"{min(extra)}, which a BERT does not have")
    for name, tensor in weights.items():
        if name not in wanted:
            continue
        if not tensor.is_floating_point():
            raise _does_not_fit(folder, f"{name} is quantized, {tensor.dtype}")
        if tensor.shape != wanted[name].shape:
            ours, theirs = (" x ".join(map(str, t.shape)) or "a number" for t in (tensor, wanted[name]))
            raise _does_not_fit(folder, f"other shapes: {name} is {ours}, by config.json {theirs}")


def _does_not_fit(folder: Path, reason: str) -> UserError:
    return UserError(f"the weights in {folder} do not fit its config.json ({reason}): take both from the same model")


def _read_file(path: Path) -> Weights:
    """The tensors in a file of safetensors or torch."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    refuse_weights_stub(path)
    reason, step = f"{path.name} is damaged or cut off", "fetch them again"
    try:
        with path.open("rb") as file:
            beginning = file.read(9)
        if not beginning:
            raise EOFError
        if beginning[8:] == b"{":  # after eight bytes of length the header of safetensors
            return load_file(path)
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=beginning.startswith(b"PK") or None)
        if not isinstance(held, dict):
            reason = f"{path.name} holds no weights by name"
            raise ValueError
        return dict(_named(held))
    except Exception as fault:  # what torch's reader stumbles on in a damaged file may be anything
        if isinstance(fault, OSError) and fault.strerror:
            reason = f"{path.name}: {fault.strerror}"
        elif isinstance(fault, SafetensorError) and beginning.startswith(b"PK"):
            reason, step = f"{path.name} was written by torch.save", "rename it pytorch_model.bin"
        elif isinstance(fault, SafetensorError):
            reason += f": {str(fault)[:160]}"
        elif "unsupported global" in str(fault).lower():
            reason = f"{path.name} holds Python objects, which could run code, beside the tensors"
            step = "take a model.safetensors, or save the state_dict alone"
        raise UserError(f"the weights in {path.parent} cannot be read ({reason}): {step}") from fault


def _named(held: dict[Any, Any], before: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a dict and of the dicts in it, such as a trainer's `state_dict`, whose key becomes a prefix."""
    for name, value in held.items():
        if isinstance(value, torch.Tensor):
            yield f"{before}{name}", value
        elif isinstance(value, dict):
            yield from _named(value, f"{before}{name}.")
