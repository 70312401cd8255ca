"""Wrong options on our command lines: one line that says so, and an exit status; no traceback."""

import pytest

from sb3_trpo.inspect import main as inspect
from sb3_trpo.inspect import parser_of_options as options_of_inspect

LOG = "time/total_timesteps,train/kl\n16,0.01\n32,0.02\n"
# By option: words on the command line, and which of them the message has to name.
REPORT = {
    "runs": [([], "RUN_DIR"), (["nowhere"], "nowhere"), (["run+nowhere"], "run+nowhere")],
    "smooth": [(["run", "--smooth", value], "smooth") for value in ("0", "-1", "1.5", "nan", "x")],
    "output": [
        (["run", "-o"], "--output"),
        (["run", "-o", "run/progress.csv/page.html"], "run/progress.csv/page.html"),
        (["run", "-o", "folder.html"], "folder.html"),
    ],
}
ANY_TEXT = {"title"}
INSPECT = {
    "file": [([], "file"), *(([n], n) for n in ("nowhere.zip", "run", "empty.zip", "x.zip"))]
}
ZOO = [[], ["nope"], ["--algo", "trpo"], [""]]


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "run" / "progress.csv").write_text(LOG)
    (tmp_path / "empty.zip").touch()
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04" + bytes(100))


def complaint_of(main, words, capsys):
    try:
        status = main(words)
    except SystemExit as exit_:
        status = exit_.code
    complaint = capsys.readouterr().err
    assert status in (1, 2)
    assert "Traceback" not in complaint
    return complaint


@pytest.mark.parametrize("option", REPORT)
def test_report_names_what_is_wrong(option, capsys, tmp_path):
    main = pytest.importorskip("sb3_trpo.report.__main__").main
    for words, named in REPORT[option]:
        assert named in complaint_of(main, words, capsys)
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("option", INSPECT)
def test_inspect_names_what_is_wrong(option, capsys):
    for words, named in INSPECT[option]:
        assert named in complaint_of(inspect, words, capsys)


@pytest.mark.parametrize("words", ZOO)
def test_zoo_lists_its_scripts(words, capsys):
    zoo = pytest.importorskip("sb3_trpo.zoo.__main__")
    complaint = complaint_of(zoo.main, words, capsys)
    assert all(script in complaint for script in (*zoo.SCRIPTS, *zoo.PLOTS))
    assert all(f"no script {word!r}" in complaint for word in words[:1])


def options_of(parser):
    return {action.dest for action in parser._actions} - {"help"}


def test_every_option_has_wrong_values():
    main = pytest.importorskip("sb3_trpo.report.__main__")
    assert options_of(main.parser_of_options()) - ANY_TEXT == REPORT.keys()
    assert options_of(options_of_inspect()) == INSPECT.keys()
    assert all(len(cases) >= 3 for cases in [*REPORT.values(), *INSPECT.values(), ZOO])
