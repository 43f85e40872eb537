"""`pointsman tune`, with the real model."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.routing import thresholds
from proxy.routing.thresholds import Tuning
from proxy.routing.topic_fit import TopicFit, fit_topics
from tests.routing.requests import BASE

FILE = BASE + (
    "topics:\n"
    '  weather: {examples: ["Will it rain tomorrow?", "How hot is it in Madrid?", "Is a storm coming?"]}\n'
    '  music: {examples: ["Play some jazz", "Who sang this song?", "Turn up the volume"], threshold: 0.9999}\n'
    "routes: [{name: songs, when: {topic: music}, use: large}]\n"
    "tests: [{prompt: Play some blues, route: default}]\n"
)
SONGS = [
    "Put on some classical music", "Play the new album by Adele", "Which band sang this song?", "Play a rock song",
    "Skip to the next song", "Make the music louder", "Turn down the volume of this song", "Who wrote this song?",
    "Play my jazz playlist", "Shuffle my favourite songs", "What song is playing?", "Play the radio",
]  # fmt: skip
OTHERS = ["Draft a rental contract", "Fix my Python loop", "What is 12 times 12?", "Who was Napoleon?"]


def tune(folder: Path, rows: list[Any], *options: str, file: str = FILE) -> Result:
    (folder / "r.yaml").write_text(file)
    path = folder / "labelled.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return CliRunner().invoke(main, ["tune", str(path), "-c", str(folder / "r.yaml"), *options])


ROWS = [*({"text": text, "topic": "music"} for text in SONGS), *({"prompt": text, "label": None} for text in OTHERS)]


def test_a_threshold_that_keeps_its_own_texts_out_is_lowered(tmp_path: Path) -> None:
    told = tune(tmp_path, ROWS)
    assert (told.exit_code, told.stderr) == (0, "")
    assert f"{tmp_path / 'labelled.jsonl'}: 12 texts of a topic, 4 of none\n" in told.stdout
    assert "  music:\n    threshold: 0." in told.stdout
    assert "1 topic keeps its threshold" in told.stdout
    assert (
        "Then these tests of the file fail:\n  tests[0]: 'Play some blues': expected default, got songs" in told.stdout
    )
    assert (tmp_path / "r.yaml").read_text() == FILE


def test_tuned_as_json(tmp_path: Path) -> None:
    found = json.loads(tune(tmp_path, ROWS, "--json").stdout)
    assert (found["texts"], found["of_topics"], found["of_none"], found["left_out"]) == (16, 12, 4, 0)
    assert found["improves"]
    assert set(found["proposed"]) == {"music"}
    assert found["held_out"]["before"]["taken"] < found["held_out"]["after"]["taken"]
    music = found["topics"][1]
    assert (music["topic"], music["threshold"]["before"]) == ("music", 0.9999)
    assert music["threshold"]["after"] == found["proposed"]["music"] < 0.9999
    assert music["right"]["before"] < music["right"]["after"] <= music["texts"]
    assert len(found["broken_tests"]) == 1


def test_with_the_proposed_thresholds_nothing_more_is_proposed(tmp_path: Path) -> None:
    proposed = json.loads(tune(tmp_path, ROWS, "--json").stdout)["proposed"]
    tuned = FILE.replace("0.9999", str(proposed["music"])).replace("route: default", "route: songs")
    told = tune(tmp_path, ROWS, file=tuned)
    assert told.exit_code == 0
    assert "Leave the thresholds as they are: " in told.stdout
    assert "threshold: " not in told.stdout
    assert json.loads(tune(tmp_path, ROWS, "--json", file=tuned).stdout)["proposed"] == {}


def test_topics_are_fitted_once_and_kept_where_a_folder_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other thresholds need no other fit, nor does another run."""
    fits: list[int] = []

    def counted(examples: Any, names: Any) -> TopicFit:
        fits.append(len(names))
        return fit_topics(examples, names)

    monkeypatch.setattr("proxy.reload.fitting.fit_topics", counted)
    first, again = (tune(tmp_path, ROWS, "--cache-dir", str(tmp_path / "kept")) for _ in range(2))
    assert (first.exit_code, first.stderr) == (again.exit_code, again.stderr) == (0, "")
    assert "Then these tests of the file fail" in first.stdout
    assert first.stdout == again.stdout
    assert fits == [2]


def test_the_files_own_examples_are_left_out(tmp_path: Path) -> None:
    told = tune(tmp_path, [*ROWS, {"text": "play  some JÁZZ", "topic": "music"}])
    assert "12 texts of a topic, 4 of none\n1 more left out, which are examples of " in told.stdout
    only = tune(tmp_path, [{"text": "Play some jazz", "topic": "music"}])
    assert only.exit_code == 1
    assert "each of its texts is an example of " in only.stderr


def test_texts_of_topics_alone_are_said_to_hold_nothing_up(tmp_path: Path) -> None:
    assert "None is of no topic (null)" in tune(tmp_path, ROWS[:3]).stdout


def test_every_bad_line_is_told_with_its_place(tmp_path: Path) -> None:
    rows = [
        {"text": "Play a tune", "topic": "music"},
        '{"text": ',
        "",
        '["text"]',
        {"topic": "music"},
        {"text": 7, "topic": "music"},
        {"text": "no label"},
        {"text": "a number", "topic": 3},
        {"text": "  ", "topic": None},
        {"text": "Sing along", "topic": "musik"},
        {"text": "Sing alone", "topic": "musik"},
        {"text": "Sell a house", "topic": "law"},
        {"text": "pláy a  tune", "topic": None},
        r'{"text": "\ud800", "topic": null}',
        "[" * 100_000,
    ]
    told = tune(tmp_path, rows)
    assert (told.exit_code, told.stdout) == (2, "")
    form = 'each line is {"text": "...", "topic": "..."}, with null for a text of no topic'
    assert [line.removeprefix(str(tmp_path)) for line in told.stderr.splitlines()] == [
        f"/labelled.jsonl:2:10 not JSON: Expecting value; {form}",
        f"/labelled.jsonl:4:1 expected an object, got '[\"text\"]'; {form}",
        f"/labelled.jsonl:5:1 'text' is missing; {form}",
        f"/labelled.jsonl:6:1 'text' is '7', not a string; {form}",
        f"/labelled.jsonl:7:1 'topic' is missing; {form}",
        f"/labelled.jsonl:8:1 'topic' is '3', neither a name nor null; {form}",
        "/labelled.jsonl:9:1 nothing is looked at of the text '  '; remove the line",
        "/labelled.jsonl:10:1 no topic is called 'musik' (on 2 lines); did you mean 'music'?",
        "/labelled.jsonl:12:1 no topic is called 'law'; there are 'weather' and 'music'",
        "/labelled.jsonl:13:1 the same text is of topic 'music' on line 1; leave one of the two",
        f"/labelled.jsonl:14:1 an escape in 'text' means half of a character; {form}",
        f"/labelled.jsonl:15:1 not JSON that can be read; {form}",
        "12 problems found.",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="missing"),
        pytest.param(b"\xff\xfe", "not UTF-8 (byte 0 of the file cannot be decoded); save it as UTF-8", id="not-utf-8"),
        pytest.param(b"\n \n", "no labelled texts; write lines like ", id="empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, content: bytes | None, expected: str) -> None:
    (tmp_path / "r.yaml").write_text(FILE)
    path = tmp_path / "labelled.jsonl"
    if content is not None:
        path.write_bytes(content)
    told = CliRunner().invoke(main, ["tune", str(path), "-c", str(tmp_path / "r.yaml")])
    assert told.exit_code == 2
    assert f"{path}: {expected}" in told.stderr


def test_a_file_without_topics_has_nothing_to_tune(tmp_path: Path) -> None:
    told = tune(tmp_path, ROWS, file=BASE)
    assert told.exit_code == 1
    assert "has no topics" in told.stderr


RIGHT = FILE.replace("route: default", "route: songs")


def test_write_changes_the_threshold_and_nothing_else(tmp_path: Path) -> None:
    # The test of the file fails before and passes after.
    told = tune(tmp_path, ROWS, "--write", file=RIGHT + "# the end\n")
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout.endswith(f"\nWrote {tmp_path / 'r.yaml'}\n")
    found = (tmp_path / "r.yaml").read_text()
    value = json.loads(tune(tmp_path, ROWS, "--json", file=RIGHT).stdout)["proposed"]["music"]
    assert found == RIGHT.replace("0.9999", f"{value:g}") + "# the end\n"
    assert {path.name for path in tmp_path.iterdir()} == {"r.yaml", "labelled.jsonl"}


def test_write_keeps_a_symlink_and_the_files_mode(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "routes.yaml"
    real.write_text(RIGHT)
    real.chmod(0o640)
    (tmp_path / "r.yaml").symlink_to(real)
    found = json.loads(tune(tmp_path, ROWS, "--write", "--json", file=RIGHT).stdout)
    assert found["written"]
    assert (tmp_path / "r.yaml").is_symlink()
    assert (real.stat().st_mode & 0o777, "0.9999" in real.read_text()) == (0o640, False)


def test_a_full_disk_leaves_the_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    told = tune(tmp_path, ROWS, "--write", file=RIGHT)
    assert told.exit_code == 1
    assert "is left as it was: No space left on device" in told.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.suffix != ".jsonl"} == {"r.yaml": RIGHT}


@pytest.mark.parametrize(
    ("file", "why"),
    [
        pytest.param(FILE, "some of its tests would fail", id="tests"),
        pytest.param(RIGHT.replace("threshold: ", "threshold: &t "), "is not a plain number; paste", id="anchor"),
    ],
)
def test_what_cannot_be_written_is_printed_and_said(tmp_path: Path, file: str, why: str) -> None:
    told = tune(tmp_path, ROWS, "--write", file=file)
    assert told.exit_code == 1
    assert f"{tmp_path / 'r.yaml'} is left as it was: " in told.stderr
    assert why in told.stderr
    assert "  music:\n    threshold: 0." in told.stdout
    assert "Wrote" not in told.stdout
    assert (tmp_path / "r.yaml").read_text() == file


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        pytest.param(RIGHT.replace("0.9999", "0.99"), "it was changed meanwhile; run tune again", id="changed"),
        pytest.param("rutes: []\n", "it was changed meanwhile, and has errors", id="broken"),
    ],
)
def test_what_somebody_else_wrote_meanwhile_stays(
    meanwhile: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(texts: Any, present: Any) -> Tuning:
        (tmp_path / "r.yaml").write_text(meanwhile)
        return thresholds.tune(texts, present)

    monkeypatch.setattr("proxy.cli.tune.tune", slowly)
    told = tune(tmp_path, ROWS, "--write", file=RIGHT)
    assert (told.exit_code, f"is left as it was: {why}" in told.stderr) == (1, True)
    assert (tmp_path / "r.yaml").read_text() == meanwhile


def test_write_without_anything_better_writes_nothing(tmp_path: Path) -> None:
    told = tune(tmp_path, ROWS[:3], "--write")
    assert (told.exit_code, (tmp_path / "r.yaml").read_text()) == (0, FILE)
