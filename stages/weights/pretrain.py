"""Train a tiny base model for a demo, on images easier than the study's.

A base is a row of weights.pretrain; its kind, a module of `stages.lib.demo.bases`, says what it is taught.

in   parameters alone: the images are drawn
out  a folder that loads as the model does that it stands in for: weights in float32, what reads words and images,
     README.md
"""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

from stages.lib.core import cli, files, kinds, params
from stages.lib.core.errors import ParamsError
from stages.lib.core.log import LOG
from stages.lib.demo import tiny

README = """\
# A demo's base model

{about}

Made from the repository alone, no one else's weights or images, by

    python -m stages.weights.pretrain --params params.yaml --base {name} --out {folder}

with these parameters (seed {seed}):

```json
{parameters}
```

Licence: Apache-2.0, as the repository.
"""
ABOUT = "A tiny {model} {about} It knows nothing of real images and is not fit for any medical use."
WIDTH = 120


def readme(name: str, kind: str, row: object, given: object, parameters: int) -> str:
    """Text of a base's README.

    Args:
        name: Its row.
        kind: Its kind.
        row: The parameters of the row.
        given: The other sections that its kind reads.
        parameters: How many parameters it has.
    """
    base = kinds.module(kinds.BASES, kind)
    recorded = base.recorded(row, given)
    about = ABOUT.format(model=base.ARCHITECTURE.format(parameters=parameters), about=" ".join(base.ABOUT.split()))
    return README.format(
        about=textwrap.fill(about, WIDTH),
        name=name,
        folder=base.FOLDER or f"results/weights/pretrain/{name}",
        seed=recorded["pretrain"]["seed"],
        parameters=json.dumps(recorded, indent=2),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Train a base and write its folder whole."""
    args = cli.parse(
        __doc__, argv, params={"weights.pretrain": kinds.rows(kinds.BASES)}, reads=["base"], writes=["out"]
    )
    rows = args.params.pretrain
    if args.base not in rows:
        raise ParamsError("--base:", [params.unknown(args.base, rows)])
    row = rows[args.base]
    kind = kinds.module(kinds.BASES, row.kind)
    given = params.parse(args.document, kind.WANTED)
    with files.replacing_folder(Path(args.out)) as folder:
        losses = kind.pretrain(folder, row.params, given)
        text = readme(args.base, row.kind, row.params, given, tiny.parameters(folder / name for name in kind.WEIGHTS))
        (folder / "README.md").write_text(text)
    for phase, values in losses.items():
        last = values[-50:]
        LOG.info("pretrain: %s, mean loss of the last %d steps %.3f", phase, len(last), sum(last) / len(last))


if __name__ == "__main__":
    cli.run(main)
