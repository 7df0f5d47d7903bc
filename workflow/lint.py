"""Run `snakemake --lint` and fail on what it finds, but for the advice on containers and conda environments.

One environment, locked with hashes, holds all stages (README, `make setup`), so a rule names none.
"""

import re
import subprocess
import sys

EXCUSED = {
    "Specify a conda environment or container for each rule.": None,
    "No log directive defined": {
        "all",
        "predict",
        "findings",
        "findings_rescore",
        "findings_tuned",
        "findings_audit",
        "lofi",
        "lofi_retrieval",
        "lofi_grounding",
        "lofi_ablations",
        "zoo",
        "zoo_fetch",
        "zoo_curve",
        "zoo_localizer_cv",
    },
}


def findings(text: str) -> list[str]:
    """Findings in the text of `snakemake --lint` that are not excused, one line each."""
    found, place = [], ""
    for line in text.splitlines():
        if match := re.match(r"Lints for (?:rule (\w+)|snakefile (\S+)) ?.*:$", line):
            place = match[1] or match[2]
        elif match := re.match(r"    \* (.*):$", line):
            excused = EXCUSED.get(match[1], set())
            if excused is not None and place not in excused:
                found.append(f"{place}: {match[1]}")
    return found


def main() -> None:
    """Print every finding that is not excused; exit with 1 if there is one, or if the linter did not run."""
    done = subprocess.run([sys.executable, "-m", "snakemake", "--lint"], capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    if done.returncode and "Lints for" not in text:
        sys.exit(text)
    if found := findings(text):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
