"""What the README promises: two commands, an example and its output."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_two_commands_of_a_line_each():
    commands = README.split("<!-- commands -->")[1].split("<!-- end of commands -->")[0]
    lines = [line for line in commands.splitlines() if line.startswith("pip install")]
    assert len(lines) == 2
    assert "pwgf_sym demo" in lines[0] and "pytest" in lines[1]


def words_and_numbers(text):
    """Text split into words, and numbers as floats."""
    found = []
    for word in re.findall(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?|[^\s\d]+", text):
        try:
            found.append(float(word))
        except ValueError:
            found.append(word)
    return found


@pytest.mark.slow
def test_example_gives_its_output(tmp_path):
    code = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
    source, expected = code.groups()
    (tmp_path / "example.py").write_text(source)
    run = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "flow.png").stat().st_size > 10_000
    # But for what depends on how many steps there were: other processors round differently.
    counts = r"^  (times|defect|residual|error|work) .*$"
    texts = (re.sub(counts, "", text, flags=re.M) for text in (run.stdout, expected))
    found, wanted = map(words_and_numbers, texts)
    assert [w for w in found if isinstance(w, str)] == [w for w in wanted if isinstance(w, str)]
    for a, b in zip(found, wanted, strict=True):
        if isinstance(b, float):  # other processors round differently: two digits, or tiny
            assert a == pytest.approx(b, rel=0.05, abs=2e-3)


@pytest.mark.slow
def test_demo_prints_what_it_says(tmp_path):
    from pwgf_sym.look.demo import run_demo

    lines = []
    error = run_demo(tmp_path / "demo.png", say=lines.append, progress=False)
    text = "\n".join(lines)
    assert error < 5e-3
    for part in ("energy:", "first variation:", "equation:", "generated code:", "W2 of the"):
        assert part in text
    assert (tmp_path / "demo.png").stat().st_size > 10_000
