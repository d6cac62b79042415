"""A BERT in a Hugging Face folder: found, read and checked."""

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.console import UserError
from core.text.tokenizer import Tokenizer, read_vocab

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
MODEL_FILES = (*WEIGHT_FILES, "config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json")
FETCH_COMMAND = "python download.py bert"
# Some encoders pad their embedding to a round number of rows; a difference beyond that is another vocabulary.
MAX_SPARE_EMBEDDINGS = 128
OPTIONAL = ("pooler.", "cls.")  # parts of a BERT that a folder may lack
# Few rows take many passes, or there are too few updates to learn anything (Mosbach et al. 2021).
FINETUNE = {"learning_rate": 5e-5, "num_epochs": [[300, 30], [800, 16], [3000, 8], [12000, 4], [None, 2]]}


def find_bert(bert_path: Path, default: Path, bundled: Path) -> Path:
    """The folder to take the encoder from: `bert_path`, or the bundled BERT while the default folder is empty.

    Raises:
        UserError: the folder lacks weights, config or vocabulary.
    """
    if bert_path == default and not any((bert_path / name).is_file() for name in MODEL_FILES):
        print(f"encoder: {bundled} (bundled). For the larger bert-base-chinese (400 MB): {FETCH_COMMAND}")
        return bundled
    require_files(bert_path)
    print(f"encoder: {bert_path}")
    return bert_path


def require_files(bert_path: Path) -> None:
    """Refuse a folder that lacks weights, config or vocabulary.

    Raises:
        UserError: it does.
    """
    for accepted in (WEIGHT_FILES, ("config.json",), ("vocab.txt",)):
        if not any((bert_path / name).is_file() for name in accepted):
            raise UserError(f"{bert_path} lacks {' or '.join(accepted)}: put it there, or run: {FETCH_COMMAND}")


def find_weights(folder: Path) -> Path:
    """The file with the weights in a folder that `find_bert` gave."""
    return next(folder / name for name in WEIGHT_FILES if (folder / name).is_file())


def read_bert_config(folder: Path) -> dict[str, Any]:
    """The keys of `config.json`, less what depends on the library or file it was written by."""
    try:
        bert_config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if bert_config.get("model_type", "bert") != "bert":
            raise UserError(f"{folder} holds a {bert_config['model_type']} model: only BERT encoders are supported")
        if not all(isinstance(bert_config[key], int) for key in ("vocab_size", "max_position_embeddings")):
            raise ValueError
    except (OSError, ValueError, KeyError, AttributeError) as fault:
        raise UserError(f"{folder / 'config.json'} is not the config.json of a BERT: fetch it again") from fault
    dropped = ("transformers_version", "dtype", "torch_dtype", "architectures", "_name_or_path")
    return {key: value for key, value in bert_config.items() if key not in dropped}


def read_tokenizer(folder: Path, max_length: int, truncation: str = "end") -> Tokenizer:
    """The tokenizer of a BERT folder, its vocabulary checked against the rows of the embedding.

    Raises:
        UserError: `vocab.txt` belongs to another model, or the model has fewer positions than `max_length`.
    """
    vocab = read_vocab(folder / "vocab.txt")
    bert_config = read_bert_config(folder)
    rows, positions = bert_config["vocab_size"], bert_config["max_position_embeddings"]
    if not 0 <= rows - len(vocab) < MAX_SPARE_EMBEDDINGS:
        raise UserError(
            f"{folder}: vocab.txt has {len(vocab)} tokens, the embedding {rows} rows; they belong to different models: "
            "take vocab.txt, config.json and the weights from the same one"
        )
    if max_length > positions:
        raise UserError(f"--max-length {max_length} is more than the {positions} positions of {folder}: lower it")
    return Tokenizer(vocab, max_length, truncation)


def read_pretrained(bert_class: type[nn.Module], folder: Path) -> tuple[nn.Module, set[str]]:
    """A BERT from a folder in FP32, and the names of the weights that the folder lacks.

    Args:
        bert_class: BertModel, or one of its kin in transformers.
        folder: with config.json and weights; what has a pooler or another head may lack those of it, which are random.

    Raises:
        UserError: the weights are damaged or pickled, or do not fit config.json.
    """
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        bert, report = bert_class.from_pretrained(
            folder,
            local_files_only=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below, in one sentence
        )
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError, SafetensorError) as fault:
        reason = (str(fault).strip() or type(fault).__name__).splitlines()[0][:160]
        raise UserError(f"the weights in {folder} cannot be read ({reason}): fetch them again") from fault
    missing = {name for name in report["missing_keys"] if not name.startswith(OPTIONAL)}
    if missing or report["mismatched_keys"]:
        reason = f"no {min(missing)}" if missing else "other shapes"
        raise UserError(f"the weights in {folder} do not fit its config.json ({reason}): take both from the same model")
    return bert, set(report["missing_keys"])


def read_finetune(folder: Path) -> dict[str, Any]:
    """For how long and how fast an encoder is trained: FINETUNE, but for what `finetune.json` beside its weights says.

    That is `{"learning_rate": 4e-4, "num_epochs": [[2000, 12], [null, 3]]}` or one of the two; each pair is (up to so
    many rows, epochs).
    """
    path = folder / "finetune.json"
    try:
        return FINETUNE | (json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})
    except (OSError, ValueError, TypeError) as fault:
        raise UserError(f"{path} is damaged: mend it or delete it") from fault


def finetune_defaults(folder: Path, rows: int) -> tuple[int, float]:
    """The epochs and peak learning rate that suit an encoder and a number of training rows."""
    defaults = read_finetune(folder)
    try:
        epochs = next(epochs for up_to, epochs in defaults["num_epochs"] if up_to is None or rows <= up_to)
        return int(epochs), float(defaults["learning_rate"])
    except (ValueError, TypeError, StopIteration) as fault:
        raise UserError(f"{folder / 'finetune.json'} is damaged: mend it or delete it") from fault
