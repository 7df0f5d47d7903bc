"""Kinds of systems: each module of a package is one kind, named by the key `kind` of a row of parameters.

A package of kinds says what its modules offer: `Params`, and the function that makes a system of a row. Nothing else
knows a kind's name, so a new kind is a new file.
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from stages.lib.core.params import Rows

LOCALIZERS = "stages.lib.detect.kinds"
CLASSIFIERS = "stages.lib.models.classifiers"
BASES = "stages.lib.demo.bases"
ARMS = "stages.lib.models.arms"
JUDGES = "stages.lib.models.judges"
ENCODERS = "stages.lib.models.encoders"
RETRIEVERS = "stages.lib.models.retrievers"
GROUNDERS = "stages.lib.detect.grounders"
MODELS = "stages.lib.learn.zoo"
BACKBONES = "stages.lib.models.backbones"
TRAINED_LOCALIZERS = "stages.lib.detect.trained"


def names(package: str) -> list[str]:
    """Kinds of a package, sorted.

    >>> "medgemma" in names(LOCALIZERS)
    True
    """
    return sorted(module.name for module in iter_modules(import_module(package).__path__))


def module(package: str, kind: str) -> ModuleType:
    """Module of a kind. It is imported by name, so that a system's code is that of its own kind alone."""
    return import_module(f"{package}.{kind}")


def rows(package: str) -> Rows:
    """How the rows of a section are checked whose kinds are those of a package."""
    return Rows({kind: module(package, kind).Params for kind in names(package)})
