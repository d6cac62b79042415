"""Pretrained weights read from a Hugging Face folder, and checked."""

import pickle
from pathlib import Path

import torch
from torch import nn

from core.console import UserError

OPTIONAL = ("pooler.", "cls.")  # parts of a BERT that a folder may lack


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
