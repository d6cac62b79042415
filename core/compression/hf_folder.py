"""A trained BERT as a Hugging Face folder: AutoModelForSequenceClassification and AutoTokenizer open it.

The library's head stands on BERT's pooler. Of a head on the mean of all states it has none for a BERT, nor do its other
classes that take a mean have BERT's layers: such a model is refused here, and goes to ONNX as it is.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from core.bert.shape import Architecture, Weights, layer_shapes
from core.console import UserError
from core.model_files.facts import Facts, is_per_token
from core.model_files.module import CPU, run_module
from core.text.tokenizer import Tokenizer

TOLERANCE = 1e-5  # between the logits of the model and of what the library opens


def why_not(architecture: Architecture) -> str:
    """Why no class of transformers is equal to a model, as a predicate; "" where one is."""
    if "bert_config" not in architecture:
        return f"is a model of its own kind ({architecture['type']}), which transformers does not have"
    if architecture.get("pooling", "pooler") != "pooler":
        return "classifies by the mean of the states of all tokens, which transformers does not have for a BERT"
    return ""


def write_hf(model: nn.Module, facts: Facts, folder: Path) -> None:
    """Write config, weights and tokenizer of a module for which `why_not` finds nothing, and compare the logits.

    Raises:
        UserError: what the library opens gives other logits.
    """
    from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    architecture, labels = facts["architecture"], facts["labels"]
    weights, bert_config = full_layers(model.state_dict(), architecture)
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}
    kind = BertForTokenClassification if is_per_token(model) else BertForSequenceClassification
    try:
        theirs = kind(BertConfig(**bert_config, **names, problem_type="single_label_classification"))
        theirs.load_state_dict(weights)
    except RuntimeError as fault:
        raise UserError(f"the model has other parts than transformers' {kind.__name__}: use --format onnx") from fault
    theirs.save_pretrained(folder)
    write_tokenizer(Tokenizer.from_facts(facts), folder)
    check_logits(model, facts, folder)


def full_layers(weights: Weights, architecture: Architecture) -> tuple[Weights, dict[str, Any]]:
    """The weights and the config of a pruned BERT, with zeros, which change nothing, for heads and neurons it lacks."""
    shapes, bert_config = layer_shapes(architecture), architecture["bert_config"]
    if not architecture.get("layers"):
        return weights, bert_config
    wide, ffn = bert_config["hidden_size"], max(shape["ffn"] for shape in shapes)
    padded = dict(weights)
    for index in range(len(shapes)):
        for part, rows, columns in (
            *((f"attention.self.{name}", wide, wide) for name in ("query", "key", "value")),
            ("attention.output.dense", wide, wide),
            ("intermediate.dense", ffn, wide),
            ("output.dense", wide, ffn),
        ):
            name = f"bert.encoder.layer.{index}.{part}"
            weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
            padded[f"{name}.weight"] = F.pad(weight, (0, columns - weight.shape[1], 0, rows - weight.shape[0]))
            padded[f"{name}.bias"] = F.pad(bias, (0, rows - len(bias)))
    return padded, {**bert_config, "num_hidden_layers": len(shapes), "intermediate_size": ffn}


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write what AutoTokenizer opens to give the same ids, of a text that is cut with `truncation=True`."""
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": tokenizer.max_length}
    # Texts that spell out a special token hold its characters, as in training.
    config |= {"split_special_tokens": True, "model_input_names": ["input_ids", "attention_mask"]}
    names = {name: f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    config |= {f"{name}_token": token for name, token in names.items() if token in tokenizer.vocab}
    (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def check_logits(model: nn.Module, facts: Facts, folder: Path) -> None:
    """Open a written folder as anybody does, and compare its logits with the model's.

    Raises:
        UserError: one differs by more than 1e-5.
    """
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    kind = AutoModelForTokenClassification if is_per_token(model) else AutoModelForSequenceClassification
    theirs, ours = kind.from_pretrained(folder, local_files_only=True).eval(), run_module(model, CPU)
    rng = np.random.default_rng(0)
    for lengths in ([3], [facts["max_length"], 5, 3]):
        mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
        ids = rng.integers(len(facts["vocab"]), size=mask.shape)
        with torch.inference_mode():
            found = theirs(torch.from_numpy(ids), torch.from_numpy(mask)).logits.numpy()
        wanted = ours({"input_ids": ids, "attention_mask": mask})
        if is_per_token(model):
            found, wanted = found[mask == 1], wanted[mask == 1]
        difference = float(np.abs(found - wanted).max())
        if not difference <= TOLERANCE:
            raise UserError(
                f"transformers gives other logits than the model (by {difference:.1e}): install the version in "
                "requirements.txt, or use --format onnx"
            )
