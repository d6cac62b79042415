"""The commands that the READMEs show exist as shown."""

import re
import runpy
import shlex
import sys

import pytest
from conftest import ROOT

PAGES = ("README.md", "README_EN.md", "CONTRIBUTING.md", "bert-base-chinese/README.md", "data/README.md")
PAGES += ("results/README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
WITHOUT = ("bert-base-chinese/README", "docs/concepts", "docs/licence")  # commands
LONGEST = 12 * 1024  # bytes of a README: what one reads in three minutes
PAGES += tuple(f"{task}/README{end}.md" for task in ("ner", "aspect_sentiment", "qa") for end in ("", "_EN"))
LAUNCHERS = ("torchrun", "accelerate launch")


def commands(page: str) -> list[str]:
    """The lines of a page's code that run a script of the project."""
    text = (ROOT / page).read_text(encoding="utf-8")
    code = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL) + re.findall(r"`([^`\n]+)`", text)
    lines = [
        re.sub(r"^(py -3\.\d+|python3) ", "python ", line.strip()) for block in code for line in block.splitlines()
    ]
    return [line for line in lines if line.startswith(("python ", "streamlit ", *LAUNCHERS)) and "-m venv" not in line]


def test_both_languages_show_the_same_commands():
    def plain(page: str) -> list[str]:
        return sorted({re.sub(r'"[^"]*"|\S*[^\x00-\x7f]\S*', "…", line) for line in commands(page)})

    for folder in ("", "ner/", "aspect_sentiment/", "qa/"):
        assert plain(f"{folder}README.md") == plain(f"{folder}README_EN.md")
    for page in (page for page in PAGES if page.endswith(".en.md")):
        assert plain(page.replace(".en.md", ".md")) == plain(page)


def help_of(target: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints with --help; run in this process, where the slow libraries are loaded once."""
    module, name = target[0] == "-m", target[-1] if target[0] == "-m" else target[0]
    monkeypatch.setattr(sys, "argv", [name, *target[1 + module :], "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(name, run_name="__main__") if module else runpy.run_path(str(ROOT / name), run_name="__main__")
    assert end.value.code in (None, 0)
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    return {}


@pytest.mark.filterwarnings("ignore:.* found in sys.modules")
@pytest.mark.parametrize("page", PAGES)
def test_every_command_names_a_script_and_flags_that_exist(
    page: str, helps: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    shown = commands(page)
    assert shown or page.removesuffix(".md").removesuffix(".en") in WITHOUT
    for line in shown:
        words = shlex.split(line)
        if words[:2] == ["python", "-m"]:
            target = ["-m", words[2]]
            assert (ROOT / f"{words[2].replace('.', '/')}.py").is_file(), line
        else:
            script = next((word for word in words if word.endswith(".py")), "")
            assert (ROOT / script).is_file(), line
            target = [script]
        if "app.py" in target:
            continue
        own = words[words.index(target[-1]) + 1 :]
        if target == ["utils.py"]:
            target.append(own[0])
        key = " ".join(target)
        if key not in helps:
            helps[key] = help_of(target, monkeypatch, capsys)
        for flag in (word for word in own if word.startswith("--")):
            assert re.search(rf"{flag}\b", helps[key]), f"{line}: {key} has no {flag}"


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_exist(page: str):
    for link in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        if not link.startswith(("http://", "https://")):
            path, _, heading = link.partition("#")
            target = (ROOT / page).parent / path if path else ROOT / page
            assert target.exists(), link
            if heading:
                headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
                # as GitHub names them
                assert heading in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in headings}, link


def test_a_readme_is_read_in_three_minutes_and_links_to_every_page():
    for name, end in (("README.md", ".md"), ("README_EN.md", ".en.md")):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert len(text.encode()) <= LONGEST
        pages = {path.name for path in (ROOT / "docs").glob("*.md") if path.name.endswith(".en.md") == (end != ".md")}
        assert pages == set(re.findall(r"\]\(docs/([^)#]+)", text))


def test_no_placeholder_is_left():
    for page in PAGES:
        assert not re.search(r"\{[A-Z_]+\}", (ROOT / page).read_text(encoding="utf-8")), page


@pytest.mark.parametrize("page", [f"docs/{task}{end}.md" for task in ("ner", "qa") for end in ("", ".en")])
def test_who_has_data_of_their_own_stays_with_them(page: str):
    steps = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if re.match(r"\d\. ", line)]
    shown = re.findall(r"`(python -m \w+\.(?:train|baseline|distillation)[^`]*)`", "\n".join(steps))
    assert len(shown) == 3 and all("--data-dir my_data" in command for command in shown)
