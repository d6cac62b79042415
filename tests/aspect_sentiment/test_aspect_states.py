"""Which state means "not mentioned": it is known by its word or by states.txt, and else it is told."""

from pathlib import Path

import pytest
from aspect_reviews import write_reviews, write_table

from aspect_sentiment.data import main, read, read_data
from aspect_sentiment.states import find_state

UNKNOWN = "no state is known to mean 'not mentioned'"


def with_states(path: Path, states: list[str]) -> Path:
    return write_table(path, [[f"评论{i}", states[i % len(states)], states[-1 - i % len(states)]] for i in range(30)])


def odd_states(path: Path) -> list[str]:
    return [told for told in read(path).warnings if "not mentioned" in told]


@pytest.mark.parametrize(
    "word",
    [
        *(
            "没说",
            "没有",
            "没有提及",
            "没提到",
            "不提及",
            "未涉及",
            "未提到",
            "没有说",
            "没谈到",
            "未评价",
            "不适用",
            "无",
        ),
        *("/", "／", "-", "—", "none", "N/A", "NULL", "Not Mentioned", "not_mentioned", "not applicable"),
    ],
)
def test_usual_words_for_not_mentioned_are_known(word: str, tmp_path: Path):
    path = with_states(tmp_path / "a.csv", ["好评", "差评", word])
    assert find_state(read(path).labels, "absent") == 0 and not odd_states(path)


@pytest.mark.parametrize(
    ("states", "text"),
    [
        (["好评", "差评", "略"], "好评\n差评\n略\t未提及\n"),
        (["-1", "0", "1"], "-1\t负面\n0\t未提及\n1\t正面\n"),
    ],
    ids=["word", "numbers"],
)
def test_states_of_which_none_is_known_as_not_mentioned_are_told_and_states_txt_helps(
    states: list[str], text: str, tmp_path: Path
):
    path = with_states(tmp_path / "a.csv", states)
    assert read(path).labels == sorted(states, key=read(path).labels.index)  # as they stand in the cells
    [told] = odd_states(path)
    assert UNKNOWN in told and all(state in told for state in states) and "such as 没说<TAB>未提及" in told
    (tmp_path / "states.txt").write_text(text, encoding="utf-8")
    assert find_state(read(path).labels, "absent") is not None and not odd_states(path)


def test_opinions_alone_and_two_words_for_not_mentioned_are_told(tmp_path: Path):
    [told] = odd_states(with_states(tmp_path / "a.csv", ["好评", "差评"]))
    assert "write 未提及 where a review says nothing" in told
    [told] = odd_states(with_states(tmp_path / "b.csv", ["好评", "无", "/"]))
    assert "2 states mean 'not mentioned' (/, 无), and all but / count as opinions" in told


def test_the_import_and_the_check_tell_it_once(tmp_path: Path, bert: Path, capsys: pytest.CaptureFixture[str]):
    source, made = with_states(tmp_path / "a.csv", ["好评", "差评", "略"]), str(tmp_path / "made")
    main(["import", str(source), "--to", made])
    assert capsys.readouterr().out.count(UNKNOWN) == 1
    check = ["check", made, "--bert-path", str(bert), "--output", str(tmp_path)]
    main(check)
    assert capsys.readouterr().out.count(UNKNOWN) == 1
    lines = (tmp_path / "made/states.txt").read_text(encoding="utf-8")
    (tmp_path / "made/states.txt").write_text(lines.replace("略", "略\t未提及"), encoding="utf-8")
    main(check)
    assert UNKNOWN not in capsys.readouterr().out


def test_nothing_is_told_of_states_that_are_known(tmp_path: Path):
    folder = write_reviews(tmp_path / "data", 12)
    assert not [told for split in read_data(folder).values() for told in split.warnings if "not mentioned" in told]
