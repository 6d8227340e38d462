"""Alert rules in `deploy/prometheus`: they parse, fire in time, name metrics that exist and pages that are there."""

import re
import shutil
import subprocess

import pytest

from tests.support.instance import ROOT, Instance

RULES = ROOT / "deploy/prometheus"


def test_rules_name_metrics_that_exist(instance: Instance) -> None:
    """Of an edge, as it shows them, and of the warmer, as its modules name them."""
    expressions = re.findall(r"^ +expr: (.*)$", (RULES / "alerts.yml").read_text(), re.MULTILINE)
    wanted = {name for each in expressions for name in re.findall(r"fastocsp_\w+", each)}
    shown = set(re.findall(r"^# TYPE (\w+)", instance.metrics(), re.MULTILINE))
    named = {
        name
        for path in (ROOT / "cachewarm/warmer").glob("*.py")
        for name in re.findall(r"fastocsp_\w+", path.read_text())
    }
    assert len(expressions) == len(re.findall(r"- alert:", (RULES / "alerts.yml").read_text())) > 10
    assert wanted - shown - named == set()


def test_rules_name_pages_that_exist() -> None:
    """A runbook is a page of the documentation, and a heading of it where one is named."""
    for runbook in re.findall(r"runbook: (\S+)", (RULES / "alerts.yml").read_text()):
        page, _, heading = runbook.partition("#")
        text = (ROOT / page).read_text()
        assert not heading or re.search(rf"^#+ {heading}$", text, re.MULTILINE | re.IGNORECASE), runbook


@pytest.mark.skipif(shutil.which("promtool") is None, reason="apt install prometheus, for promtool")
@pytest.mark.parametrize(
    "words", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")], ids=" ".join
)
def test_promtool_accepts_the_rules_and_their_timing(words: tuple[str, ...]) -> None:
    """The tests of the rules are in `alerts_test.yml`."""
    done = subprocess.run(["promtool", *words], cwd=RULES, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
