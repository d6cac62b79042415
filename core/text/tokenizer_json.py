"""The vocabulary in a `tokenizer.json`, which is all that newer libraries save of a BERT's tokenizer."""

import json
from pathlib import Path

from core.console import UserError


def read_tokenizer_json(path: Path) -> list[str]:
    """The tokens in the order of their ids, added ones included.

    Raises:
        UserError: the file is damaged, is of another kind than BERT's WordPiece, or leaves out or repeats an id.
    """
    try:
        content = json.loads(path.read_bytes())
        model = content["model"]
        kind = model.get("type", "WordPiece")
        if kind != "WordPiece":
            raise UserError(f"{path} is a {kind} tokenizer, a BERT's is WordPiece: take a folder that holds a BERT")
        ids = dict(model["vocab"]) | {added["content"]: added["id"] for added in content.get("added_tokens") or ()}
        if not all(type(index) is int for index in ids.values()):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise UserError(f"{path} is not the tokenizer.json of a BERT: fetch it again") from fault
    vocab = sorted(ids, key=ids.__getitem__)
    if [ids[token] for token in vocab] != list(range(len(vocab))):
        raise UserError(f"{path} is damaged: its ids are not 0 to {len(vocab) - 1}, each once; fetch it again")
    return vocab
