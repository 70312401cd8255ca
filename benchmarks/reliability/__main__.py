"""
Run the tests of reliability and security, slow ones included, and count what they tried.

    python -m benchmarks.reliability            # writes table.md beside this file

A test tells what it tried with pytest's ``record_property``; the counts of one name are added up.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.reliability.promises import PROMISES, Promise

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("table.md")


@dataclass
class Tried:
    """What the tests of one promise did."""

    passed: int = 0
    skipped: int = 0
    failed: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, case: ElementTree.Element) -> None:
        """Count one test."""
        if case.find("failure") is not None or case.find("error") is not None:
            self.failed += 1
        elif case.find("skipped") is not None:
            self.skipped += 1
        else:
            self.passed += 1
            for found in case.iterfind("properties/property"):
                self.counts[found.attrib["name"]] += int(found.attrib["value"])


def run_tests(promises: tuple[Promise, ...], jobs: int) -> ElementTree.Element:
    """Run the tests of all promises; return pytest's report."""
    selected = [f"tests/{name}" for promise in promises for name in promise.tests]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", str(jobs), f"--junitxml={report}"]
        subprocess.run([*command, *selected], cwd=ROOT, check=False)
        return ElementTree.parse(report).getroot()


def belongs(case: ElementTree.Element, test: str) -> bool:
    """Tell whether a case of the report is of a file or of a function in it."""
    name, _, function = test.partition("::")
    module = f"tests.{name.removesuffix('.py')}"
    return case.attrib["classname"] == module and (
        not function or case.attrib["name"].partition("[")[0] == function
    )


def row(promise: Promise, tried: Tried) -> str:
    """Return a row of the table."""
    files = sorted({test.partition("::")[0] for test in promise.tests})
    figures = [f"{tried.passed} passed"]
    if tried.failed:
        figures.append(f"**{tried.failed} failed**")
    if tried.skipped:
        figures.append(f"{tried.skipped} skipped")
    figures += [f"{count:,} {name}" for name, count in sorted(tried.counts.items())]
    return f"| {promise.text} | {', '.join(f'`{file}`' for file in files)} | {', '.join(figures)} |"


def main() -> int:
    """Write the table; the exit code says whether all tests passed."""
    parser = argparse.ArgumentParser(description=__doc__.strip().partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2, help="tests at a time")
    cases = list(run_tests(PROMISES, parser.parse_args().jobs).iter("testcase"))
    lines = ["| promise | tests | figures |", "|---|---|---|"]
    n_failed = 0
    for promise in PROMISES:
        tried = Tried()
        for case in cases:
            if any(belongs(case, test) for test in promise.tests):
                tried.add(case)
        n_failed += tried.failed + (tried.passed == 0)
        lines.append(row(promise, tried))
    print("\n".join(lines))
    TABLE.write_text("\n".join(lines) + "\n")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
