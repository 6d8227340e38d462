"""`make bench-load SCENARIO=NAME`: a quickstart, Locust against it for a while, and what both say, as JSON.

Each scenario stops by itself. Options, as environment: SECONDS_EACH, USERS, ZIPF (exponent of the popularity, 0 is
even), POST and NONCE (shares of the requests), CLOSE (share on a connection of its own), ORIGIN (a URL to load instead
of a quickstart; then FACTS names its quickstart.json). Locust is Python: on two cores it asks some thousand times a
second and is the bottleneck; what it is for is behaviour - mixes, bursts, faults - not capacity (`make bench`).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.machine import cpu_s, stamp
from tests.support.instance import Instance

FOLDER = Path(__file__).parent
SCENARIOS = ("edge-direct", "cdn-origin", "stampede", "revocation-storm", "slowloris")
CERTIFICATES = 300


def drive(scenario: str, origin: str, facts: Path, folder: Path, seconds: float, users: int) -> dict[str, object]:
    """Locust's own figures."""
    environ = os.environ | {"FACTS": str(facts), "SCENARIO": scenario, "TOLD": str(folder / "told.json")}
    words = ["-f", str(FOLDER / "scenarios.py"), "--headless", "--host", origin, "--only-summary", "--reset-stats"]
    words += ["-u", str(users), "-r", str(users), "-t", f"{seconds:g}s", "--stop-timeout", "2"]
    subprocess.run(
        [sys.executable, "-m", "locust", *words], env=environ, check=False, stdout=sys.stderr, timeout=seconds + 60
    )
    told: dict[str, object] = json.loads((folder / "told.json").read_text())
    return told


def main() -> None:
    """Run one scenario; exit 1 when something failed that must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=SCENARIOS)
    given = parser.parse_args()
    seconds, users = float(os.environ.get("SECONDS_EACH", "20")), int(os.environ.get("USERS", "50"))
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-locust-"))
    folder.chmod(0o755)
    settings = {"HEADER_TIMEOUT": "2s", "KEEP_ALIVE_TIMEOUT": "20s"}
    instance = None
    try:
        if origin := os.environ.get("ORIGIN"):
            told = drive(given.scenario, origin, Path(os.environ["FACTS"]), folder, seconds, users)
        else:
            named = {f"FASTOCSP_{name}": value for name, value in settings.items()}
            instance = Instance(folder / "data", 1, CERTIFICATES, 8, **named).start()
            edge = instance.facts["pids"]["edge"][0]
            before = cpu_s(edge)
            facts = instance.folder / "quickstart.json"
            told = drive(given.scenario, instance.base, facts, folder, seconds, users)
            told["edge CPU seconds"] = round(cpu_s(edge) - before, 2)
    finally:
        if instance is not None:
            instance.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({**stamp(), "scenario": given.scenario, "users": users, "seconds": seconds, **told}, indent=1))
    sys.exit(bool(told["failures"]))


if __name__ == "__main__":
    main()
