"""The table of bulk scoring."""

from typing import Any

from experiments.readme_words import Words, markdown

WAYS = ("predict_fun", "1", "2")


def table(report: dict[str, Any], words: Words) -> str:
    """What each way took beside predict_fun.py, and what kills and a second node did."""
    one = {cell["rows"]: cell["titles_per_s"] for cell in report["cells"] if cell["what"] == WAYS[0]}
    lines, told = [], []
    for cell in sorted(report["cells"], key=lambda cell: cell["rows"]):
        rows = cell["rows"]
        if cell["what"] in WAYS:
            speed, first = cell["titles_per_s"], cell.get("to_first_part_s")
            line = [words[f"bulk {cell['what']}"], f"{rows:,}", f"{cell['seconds']:,.0f}", f"{speed:,.0f}"]
            line += [f"{speed / one[rows]:.2f}×" if rows in one else "–", f"{first:.0f}" if first else "–"]
            lines.append([*line, f"{cell['driver_mb']:.0f}"])
        elif cell["what"] == "killed":
            told.append(words["a killed run"].format(**cell))
        else:
            told.append(words["two nodes"].format(rows, " + ".join(f"{share:,}" for share in cell["rows_by_node"])))
    return "\n\n".join([*([markdown(words["table bulk"], lines)] if lines else []), "\n".join(told)]).rstrip()
