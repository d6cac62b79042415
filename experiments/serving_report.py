"""The table of what a server bears, made of what experiments.serving wrote."""

import re
from typing import Any

from experiments.readme_words import Words, markdown, model_name


def table(report: dict[str, Any], words: Words) -> str:
    """The rates of the server, and how it bears load, of the parts that were measured."""

    def answers(found: dict[str, Any]) -> str:
        statuses = " · ".join(f"{status} × {count:,}" for status, count in sorted(found["statuses"].items()))
        return words["all answers"].format(statuses, sum(found["errors"].values()))

    lines = []
    for part in ("predictor", "server", "nothing", "flask"):
        for ask, found in report.get(part, {}).items():
            times = [f"{found[name]:,.1f}" if name in found else "–" for name in ("p50_ms", "p95_ms", "p99_ms")]
            rate = f"{found['requests_per_s']:,.0f}"
            lines.append([words[f"part {part}"], re.sub(r"\D+", "", ask), rate, *times])
    told = []
    if found := report.get("overload"):
        crowd = found["crowd"]
        memory = found["before_mb"], found["during_mb"]
        told.append(words["a crowd"].format(crowd["clients"], crowd["seconds"], answers(crowd), *memory))
    if found := report.get("soak"):
        told.append(words["a soak"].format(found["seconds"] / 60, answers(found), found["growth_mb"]))
    if found := report.get("restart"):
        told.append(words["a restart"].format(found["seconds_to_ready"]))
    if found := report.get("equal"):
        told.append(words["equal answers"].format(found["same_class"], found["titles"]))
    title = f"**{model_name({'name': report['model']}, words)}**"
    table = [markdown(words["table serving"], lines)] if lines else []
    return "\n\n".join(filter(None, [title, *table, "\n".join(told)]))
