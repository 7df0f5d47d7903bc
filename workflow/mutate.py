"""Plant small changes in the modules that numbers depend on, and count those that their own fast tests notice.

    python -m workflow.mutate [--sample 200] [--seed 0] [--only froc matching]

A change is a comparison, an arithmetic sign, `and` or `or`, or a number, and one line of source. Each is planted in a
copy of the checkout, never in the checkout, and only the tests of its module run on it. The sample is drawn with a
seed, equally many of each module. workflow/mutants.yaml lists the modules, their tests, and the changes that change
nothing.

Source: DeMillo, Lipton & Sayward, Computer 11 (4): 34, 1978: tests that tell apart programs that differ in one small
place tell apart most that differ in more. Mutmut and cosmic-ray do not fit here: the one draws no sample and asks all
tests of the project which code they run, the other edits the files where they are.
"""

import argparse
import ast
import io
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from queue import SimpleQueue
from typing import ClassVar, Literal, NamedTuple

import yaml

from stages.lib.core import params

ROOT = Path(__file__).parents[1]
LIST = ROOT / "workflow/mutants.yaml"
WANTED = 0.95  # of the changes that change something
PATIENCE, LEAST_S = 5, 20.0  # a change is given so many times as long as the module's tests take, and at least so long
NOTHING_RAN = 5  # exit code of pytest
SIGNS: Mapping[str, str] = (
    {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
    | {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "%": "*", "**": "*", "&": "|", "|": "&"}
    | {"+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=", "&=": "|=", "|=": "&="}
    | {"and": "or", "or": "and"}
)


@params.section
class Equivalent:
    """A change that changes nothing which a test could see, by the line as it is and as it becomes."""

    module: params.Text
    line: params.Text
    becomes: params.Text
    why: params.Text


@params.section
class Listed:
    """The file workflow/mutants.yaml."""

    written_by: ClassVar[str] = "hand"

    modules: tuple[params.Text, ...]
    tests: Mapping[str, tuple[str, ...]]  # of modules whose tests are not tests/.../test_<module>.py
    equivalent: tuple[Equivalent, ...]

    def tests_of(self, module: str) -> tuple[str, ...]:
        """Files whose tests and doctests are those of a module, itself among them."""
        path = PurePosixPath(module)
        usual = str(PurePosixPath("tests", *path.parts[1:-1], f"test_{path.name}"))
        return module, *self.tests.get(module, (usual,))

    def changes_nothing(self, change: "Change") -> bool:
        """Whether a change is listed as equivalent."""
        return change.key in {(one.module, one.line, one.becomes) for one in self.equivalent}


class Change(NamedTuple):
    """A small change of one line of a module."""

    module: str
    number: int
    line: str
    becomes: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Module, the line, and what it becomes, without its indentation."""
        return self.module, self.line.strip(), self.becomes.strip()

    def planted(self, source: str) -> str:
        """Source of the module with the change in it."""
        lines = source.splitlines(keepends=True)
        lines[self.number - 1] = f"{self.becomes}\n"
        return "".join(lines)

    def __str__(self) -> str:
        return f"{self.module}:{self.number}\n    {self.line.strip()}\n    {self.becomes.strip()}"


Outcome = Literal["noticed", "noticed by its time", "survived"]


def listed(path: Path = LIST) -> Listed:
    """What workflow/mutants.yaml says.

    Raises:
        ParamsError: If it is not of that form.
    """
    return params.parse({"mutants": yaml.safe_load(path.read_text())}, {"mutants": Listed}).mutants


def changes(module: str, source: str) -> list[Change]:
    """Every small change of a source, in its order.

    Left alone: annotations, what is raised or logged, and text, since people read these and no number comes of them;
    and whether a module is run as a command.

    >>> for one in changes("a.py", "def f(x):\\n    return -x + 2 if x > 1 and x else x[0]\\n"):
    ...     print(one.becomes.strip())
    return +x + 2 if x > 1 and x else x[0]
    return -x - 2 if x > 1 and x else x[0]
    return -x + 3 if x > 1 and x else x[0]
    return -x + 2 if x >= 1 and x else x[0]
    return -x + 2 if x > 2 and x else x[0]
    return -x + 2 if x > 1 or x else x[0]
    return -x + 2 if x > 1 and x else x[1]
    """
    lines = source.splitlines()
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.string.strip()]
    at = {token.start: number for number, token in enumerate(tokens)}
    found = []
    for begin in sorted(set(_places(ast.parse(source), lines, tokens, at))):
        (number, column), token = begin, tokens[at[begin]]
        line, text = lines[number - 1], token.string
        new = repr(ast.literal_eval(text) + 1) if token.type == tokenize.NUMBER else SIGNS.get(text)
        if new is None:
            continue  # such as `in` and `@`
        found.append(Change(module, number, line, f"{line[:column]}{new}{line[column + len(text) :]}"))
    return found


Place = tuple[int, int]  # line from 1, column from 0, in characters


def _places(
    tree: ast.AST, lines: Sequence[str], tokens: Sequence[tokenize.TokenInfo], at: Mapping[Place, int]
) -> Iterator[Place]:
    """Where the tokens stand that can be changed."""

    def place(line: int, byte: int) -> Place:
        return line, len(lines[line - 1].encode()[:byte].decode())

    def between(left: ast.expr, right: ast.expr) -> Place:
        """The operator before an operand: tokens go back over opening brackets to it."""
        index = at[place(right.lineno, right.col_offset)] - 1
        while tokens[index].string == "(" or tokens[index].type == tokenize.COMMENT:
            index -= 1
        return tokens[index].start

    for node in _numeric(tree):
        match node:
            case ast.Constant(value=value) if type(value) in (int, float):
                yield place(node.lineno, node.col_offset)
            case ast.BinOp(left=left, right=right) if not (_is_text(left) or _is_text(right)):
                yield between(left, right)
            case ast.BoolOp(values=values):
                yield from (between(*pair) for pair in itertools.pairwise(values))
            case ast.Compare(left=left, comparators=operands):
                yield from (between(*pair) for pair in itertools.pairwise([left, *operands]))
            case ast.UnaryOp(op=ast.USub()):
                yield place(node.lineno, node.col_offset)
            case ast.AugAssign(value=value):
                yield between(value, value)


def _numeric(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes below one of which numbers may come."""
    match node:
        case ast.Raise() | ast.JoinedStr():
            return
        case ast.Call(func=ast.Attribute(value=ast.Name(id="LOG"))):
            return
        case ast.Compare(left=ast.Name(id="__name__")):
            return
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _numeric(child)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def sample(pools: Mapping[str, Sequence[Change]], size: int, seed: int) -> list[Change]:
    """So many changes, equally many of each module as far as it has them; each module's depend on the seed alone."""
    shuffled = [random.Random(f"{seed} {module}").sample(pool, len(pool)) for module, pool in sorted(pools.items())]
    turns = itertools.zip_longest(*shuffled)
    return [change for turn in turns for change in turn if change is not None][:size]


def copy(target: Path) -> None:
    """Copy the files that git knows or would take, with what is changed in them."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def exit_code(folder: Path, tests: Sequence[str], limit_s: float | None = None) -> int | None:
    """Exit code of the fast ones of some tests, until one fails; None if they took longer than that."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests]
    # Without byte code, as a changed file of the same size and second would get the old one; and without plugins that
    # the tests do not use, which take longer to load than many a test to run.
    quiet = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **quiet},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.returncode


def judge(folder: Path, change: Change, tests: Sequence[str], limit_s: float) -> Outcome:
    """What the tests of a module say of a change, planted in the copy in `folder` and taken out again."""
    path = folder / change.module
    source = path.read_text()
    path.write_text(change.planted(source))
    try:
        code = exit_code(folder, tests, limit_s)
    finally:
        path.write_text(source)
    if code is None:
        return "noticed by its time"
    if code == NOTHING_RAN:
        sys.exit(f"no test ran on {change}")
    return "noticed" if code else "survived"


def main() -> None:
    """Draw, plant, test, and print what survived; exit with 1 if too much did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=200, help="number of changes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[], metavar="MODULE", help="names of modules, such as froc")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    known = listed()
    modules = [module for module in known.modules if not args.only or Path(module).stem in args.only]
    if not modules:
        sys.exit(f"found none of {args.only} among {[Path(module).stem for module in known.modules]}")
    pools = {module: changes(module, (ROOT / module).read_text()) for module in modules}
    drawn = sample(pools, args.sample, args.seed)
    equivalent = [change for change in drawn if known.changes_nothing(change)]
    planted = [change for change in drawn if not known.changes_nothing(change)]
    total = sum(map(len, pools.values()))
    print(f"{len(drawn)} of {total} changes of {len(modules)} modules, seed {args.seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutate-") as scratch, ThreadPoolExecutor(args.jobs) as pool:
        folders: SimpleQueue[Path] = SimpleQueue()
        for number in range(args.jobs):
            copy(Path(scratch, str(number)))
            folders.put(Path(scratch, str(number)))

        def untouched(module: str) -> float:
            folder, start = folders.get(), time.monotonic()
            code = exit_code(folder, known.tests_of(module))
            folders.put(folder)
            if code:
                sys.exit(f"{' '.join(known.tests_of(module))}: pytest ends with {code} before anything is planted")
            return time.monotonic() - start

        def one(change: Change) -> Outcome:
            folder = folders.get()
            try:
                limit_s = max(LEAST_S, PATIENCE * seconds[change.module])
                outcome = judge(folder, change, known.tests_of(change.module), limit_s)
            finally:
                folders.put(folder)
            if outcome == "survived":
                print(f"survived  {change}", flush=True)
            return outcome

        concerned = sorted({change.module for change in planted})
        seconds = dict(zip(concerned, pool.map(untouched, concerned), strict=True))
        outcomes = dict(zip(planted, pool.map(one, planted), strict=True))
    print(f"\n{'noticed':>8} {'planted':>8} {'seconds':>8}  module (seconds: its tests, untouched)")
    for module in concerned:
        of_module = [outcome for change, outcome in outcomes.items() if change.module == module]
        noticed = sum(outcome != "survived" for outcome in of_module)
        print(f"{noticed:>8} {len(of_module):>8} {seconds[module]:>8.1f}  {module}")
    noticed = sum(outcome != "survived" for outcome in outcomes.values())
    slow = sum(outcome == "noticed by its time" for outcome in outcomes.values())
    print(
        f"\nnoticed {noticed} of {len(planted)} changes ({noticed / max(len(planted), 1):.1%}), {slow} of them because"
        f" the tests took too long; {len(equivalent)} more are listed as changing nothing;"
        f" {time.monotonic() - began:.0f} s"
    )
    sys.exit(noticed < WANTED * len(planted))


if __name__ == "__main__":
    main()
