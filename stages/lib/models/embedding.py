"""Features of a backbone, found where they are kept or computed, image by image.

An image's features at one place are in a file named after all that decides them: the bytes of the normalized image, how
far it is moved, its preprocessing hash, the files of the weights, the libraries and the code that compute, and the
device. So a stale file is never found, a renamed row, other shards or a killed run find what there is, and the folder
can be deleted at any time. To find features, no model is loaded.

Each image passes alone, at one place at a time, so that its features depend on no other image.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import documents, files, kinds, params, progress
from stages.lib.core.closure import ROOT, closure
from stages.lib.core.errors import DocumentError, MismatchError, ModelError
from stages.lib.core.feature_tables import STATISTICS
from stages.lib.images import normalized
from stages.lib.images.prefetch import Reader
from stages.lib.images.shifts import Shift, places, shifted
from stages.lib.models import kept, token_statistics
from stages.lib.models.backbone import VISION, Backbone, BackboneParams, BackboneSetting, Facts

GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # of NVIDIA, AMD, and of Windows below Linux
PREFIX = "prefix"
ROOM = "stages/lib/models/"  # code of other rooms reaches features by the preprocessing hash, or not at all


@dataclass(frozen=True)
class Features:
    """What a backbone makes of one image, or of some, one behind another.

    Attributes:
        statistics: By name of `feature_tables.STATISTICS` and "prefix", float16 of shape (places, numbers).
        tokens: Patch tokens, float16 of shape (places, rows, columns, features); None where they were not asked for.
    """

    statistics: dict[str, NDArray[np.float16]]
    tokens: NDArray[np.float16] | None

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers."""
        arrays = [*self.statistics.values(), *([] if self.tokens is None else [self.tokens])]
        return sum(one.nbytes for one in arrays)

    @classmethod
    def of(cls, images: Sequence["Features"]) -> "Features":
        """Those of several images, one behind another."""
        names = images[0].statistics
        tokens = [one.tokens for one in images if one.tokens is not None]
        return cls(
            {name: np.concatenate([one.statistics[name] for one in images]) for name in names},
            np.concatenate(tokens) if tokens else None,
        )


@params.section
class Timing:
    """How long passes took, kept with the features, as those who find them made none."""

    passes: params.Count
    seconds: params.NonNegativeFloat


@dataclass(frozen=True)
class _Read:
    """An image as it is read ahead: its digest, what is kept of it by place, and its pixels if something is missing."""

    png: Path
    digest: str
    known: list[NDArray[np.float16] | None]
    pixels: np.ndarray | None


class Embedding:
    """The features that one backbone makes of images of one preprocessing hash.

    Attributes:
        computed: Images that passed the model so far, at one place at least; the others were found.
    """

    def __init__(
        self,
        params: BackboneParams,
        setting: BackboneSetting,
        preprocessing_hash: str,
        cache: Path | None,
        projected: Path | None = None,
    ) -> None:
        """Take what decides the features; nothing is loaded yet.

        Args:
            params: Which model.
            setting: Its files.
            preprocessing_hash: Of the images.
            cache: Folder for the features of all models; None if none are kept.
            projected: Folder for the vision features that `train` reads, which MedGemma's pass gives beside; or None.
        """
        self._params, self._setting, self._hash = params, setting, preprocessing_hash
        self._projected = projected
        self._store: Any = None
        self._folder = cache / key(params, setting, preprocessing_hash)[:32] if cache else None
        self._backbone: Backbone | None = None
        self._facts: Facts | None = None
        self.computed, self._passes, self._seconds = 0, 0, 0.0

    @property
    def facts(self) -> Facts:
        """What the model is; it is loaded if that is not kept.

        Raises:
            ModelError: If it cannot be loaded.
        """
        if self._facts is None and self._folder:
            with suppress(DocumentError):
                self._facts = documents.read(self._folder / "facts.json", Facts)
        return self._facts or self.backbone.facts

    @property
    def places(self) -> list[Shift]:
        """Places that an image is moved to.

        Raises:
            ModelError: If the shifts do not divide a patch.
        """
        return places(self._params.shifts, self.facts.patch_px, f"{self._setting.row}: shifts")

    def images(self, pngs: Sequence[Path], readers: int, *, tokens: bool = False) -> Iterator[Features]:
        """Features of images in their order, in memory one by one.

        Args:
            pngs: Normalized images.
            readers: Threads that read ahead.
            tokens: Whether patch tokens are wanted beside their statistics.

        Raises:
            ImageError: If an image cannot be read.
            MismatchError: If an image is not of the side that the row says.
            ModelError: If the model cannot be loaded, or its tokens are no finite numbers.
        """
        if not pngs:
            return
        where = self.places

        def read(png: Path) -> _Read:
            digest = files.sha256_file(png)
            known = [self._find(digest, place, tokens) for place in where]
            missing = any(one is None for one in known)
            return _Read(png, digest, known, normalized.load(png) if missing else None)

        work = Reader([[png] for png in pngs], read, readers)
        for [image] in progress.track(work, total=len(pngs), what="embed"):
            self.computed += image.pixels is not None
            yield self._whole([self._at(image, number, where, tokens) for number in range(len(where))], tokens)

    @property
    def seconds_per_image(self) -> float | None:
        """Wall clock of an image at all its places, from the image in memory to its tokens; of what was found, as kept.

        None if there was no pass, and none is kept.
        """
        timing = Timing(passes=self._passes, seconds=self._seconds) if self._passes else None
        if timing is None and self._folder:
            with suppress(DocumentError):
                timing = documents.read(self._folder / "timing.json", Timing)
        return timing.seconds / timing.passes * len(self.places) if timing else None

    def close(self) -> None:
        """Keep how long passes took, and end what the model holds, if it was loaded."""
        if self._folder and self._passes:
            documents.write(self._folder / "timing.json", Timing(passes=self._passes, seconds=self._seconds))
        if self._backbone:
            self._backbone.close()

    @property
    def backbone(self) -> Backbone:
        """The model, loaded when it is first asked for.

        Raises:
            ModelError: If it cannot be loaded.
            MismatchError: If features are kept of another model under the same name.
        """
        if self._backbone is None:
            library = kinds.module(kinds.BACKBONES, self._params.library)
            self._backbone = library.load(self._params, self._setting)
            found, said = self._backbone.facts, self._facts
            if said and found != said:
                names = [one.name for one in fields(Facts) if getattr(found, one.name) != getattr(said, one.name)]
                raise MismatchError(
                    f"{self._setting.row}: {self._folder} keeps features of a model of another {', '.join(names)} than "
                    "the one that was loaded now; delete that folder and run it again"
                )
            self._facts = found
            if self._backbone.cache is not None and self._projected:
                self._store = self._backbone.cache(self._projected, self._hash)
            if self._folder and said is None:
                documents.write(self._folder / "facts.json", found)
        return self._backbone

    def _sizes(self, tokens: bool) -> list[int]:
        """How many numbers are kept of an image at one place: of each statistic, of prefix tokens, of patch tokens."""
        facts = self.facts
        inside = [facts.rows**2 * facts.features] if tokens else []
        return [*[facts.features] * len(STATISTICS), facts.prefix * facts.features, *inside]

    def _path(self, digest: str, place: Shift, tokens: bool) -> Path | None:
        name = f"{digest}_{place.down_px}_{place.right_px}"
        return kept.path(self._folder, name + ("_tokens" if tokens else "")) if self._folder else None

    def _find(self, digest: str, place: Shift, tokens: bool) -> NDArray[np.float16] | None:
        path = self._path(digest, place, tokens)
        found = kept.read(path, kept.HALF) if path else None
        return found if found is not None and len(found) == sum(self._sizes(tokens)) else None

    def _at(self, image: _Read, number: int, where: Sequence[Shift], tokens: bool) -> NDArray[np.float16]:
        """All numbers of an image at one place, in the order of `_sizes`."""
        known, place = image.known[number], where[number]
        if known is not None:
            return known
        made = self._computed(image, place)
        statistics = made[: sum(self._sizes(False))]
        for wanted, numbers in ((False, statistics), (True, made)):
            path = self._path(image.digest, place, wanted)
            if path and (tokens or not wanted):
                kept.write(path, numbers, kept.HALF, forced=False)
        return made if tokens else statistics

    def _computed(self, image: _Read, place: Shift) -> NDArray[np.float16]:
        row, side = self._setting.row, self._params.side_px
        pixels = np.asarray(image.pixels)
        if pixels.shape != (side, side):
            raise MismatchError(f"{row}: {image.png} is of shape {pixels.shape}, wanted side_px: {(side, side)}")
        backbone = self.backbone
        began = time.perf_counter()
        made = backbone.tokens([shifted(pixels, place)])
        self._seconds += time.perf_counter() - began
        self._passes += 1
        facts = backbone.facts
        wanted = (1, facts.rows, facts.rows, facts.features), (1, facts.prefix, facts.features)
        if (made.patches.shape, made.prefix.shape) != wanted:
            raise ModelError(
                f"{row}: the model made tokens of shape {made.patches.shape} and prefix tokens of shape "
                f"{made.prefix.shape}, wanted {wanted[0]} and {wanted[1]}"
            )
        try:
            found = token_statistics.of_tokens(made.patches[0])
            prefix = token_statistics.halves(made.prefix[0], "prefix tokens")
        except ModelError as error:
            raise ModelError(f"{row}: {image.png.name}: {error}") from error
        if self._store is not None and made.projected is not None:
            self._store.put(image.png, place, made.projected[0])
        patches = made.patches[0].astype(np.float16)
        return np.concatenate([*found.values(), prefix.ravel(), patches.ravel()])

    def _whole(self, at: Sequence[NDArray[np.float16]], tokens: bool) -> Features:
        """The numbers of all places, taken apart."""
        ends = np.cumsum(self._sizes(tokens))[:-1]
        parts = np.split(np.stack(at), ends, axis=1)  # each (places, numbers)
        found = dict(zip((*STATISTICS, PREFIX), parts, strict=False))
        facts = self.facts
        whole = parts[-1].reshape(len(at), facts.rows, facts.rows, facts.features) if tokens else None
        return Features(found, whole)


def key(params: BackboneParams, setting: BackboneSetting, preprocessing_hash: str) -> str:
    """Hash of what decides features beside the image and how far it is moved.

    Args:
        params: Which model. How many places an image is seen at decides nothing of each.
        setting: Its files.
        preprocessing_hash: Of the images.
    """
    own = {name: value for name, value in asdict(params).items() if name not in ("source", "revision", "shifts")}
    library = f"{kinds.BACKBONES}.{params.library}"
    code = [path for path in closure(library) if path.startswith(ROOM)]
    code += [*closure(token_statistics.__name__), *closure(shifted.__module__)]
    environment = setting.environment if params.library in VISION else None
    facts = {
        "model": own,
        "held": [setting.model.dtype, setting.model.attention]
        if setting.model and params.library == "medgemma"
        else None,
        "weights": setting.found.sha256,
        "pixels": preprocessing_hash,
        "libraries": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "environment": files.sha256_file(environment) if environment else None,
        "device": _device(),
        "code": sha256(b"\0".join((ROOT / path).read_bytes() for path in sorted(set(code)))).hexdigest(),
    }
    return files.sha256_json(facts)


def _device() -> str:
    """Whether this machine shows a GPU, asked without torch, whose import takes longer than all features are found in.

    If torch sees it otherwise, the model's own identity tells, which is compared when the model is loaded.
    """
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "all") not in ("", "-1")
    return "gpu" if shown and any(Path(name).exists() for name in GPUS) else "cpu"
