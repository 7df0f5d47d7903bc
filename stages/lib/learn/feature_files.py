"""Reading of features and patch tokens, as `zoo.embed` and `zoo.tokens` wrote them, by the kinds that learn of them."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.lib.core.errors import MismatchError, TableError
from stages.lib.core.feature_tables import FEATURES, STATISTICS, TOKENS
from stages.lib.core.row_groups import Groups
from stages.lib.core.tables import Schema

PREFIX = "prefix"
NAMED = 5  # images that a message names
HELD_BYTES = 256_000_000  # of patch tokens in memory, beside what is asked for


def features(
    row: str, paths: Sequence[Path], ids: Sequence[str], preprocessing_hash: str | None = None, *, varied: bool = True
) -> dict[str, NDArray[np.float16]]:
    """Statistics and prefix tokens of images, from the files of all shards.

    Args:
        row: Name of the row that reads them, for errors.
        paths: Tables of FEATURES.
        ids: Images, in the order that is wanted.
        preprocessing_hash: That the images must be of; None for any one.
        varied: Whether features that are the same for all images are refused. Not where a head that was fitted to
            features that vary scores a few images: these may be copies of one.

    Returns:
        By name of `feature_tables.STATISTICS` and "prefix", float16 of shape (images, places, numbers), numbers of
        prefix tokens being 0 of a model without any.

    Raises:
        TableError: If a file is missing, damaged or of another kind, lacks an image, has an image at other places than
            another, or a number in it is not finite; or if all features of all images are equal and must not be.
        MismatchError: If images are not of one preprocessing hash, or not of the one that is wanted.
    """
    index = Index(row, paths, FEATURES, ids, preprocessing_hash)
    made: dict[str, NDArray[np.float16]] = {}
    for file, group in index.groups():
        images, places = index.where(file, group)
        taken = images >= 0
        for name in (*STATISTICS, PREFIX):
            values = index.numbers(file, group, name)
            if name not in made:
                made[name] = np.empty((len(ids), index.places, values.shape[1]), np.float16)
            if values.shape[1] != made[name].shape[2]:
                raise TableError(
                    f"{row}: {index.paths[file]} has {values.shape[1]} numbers of {name} an image, wanted "
                    f"{made[name].shape[2]}, as another file has; run zoo.embed again"
                )
            made[name][images[taken], places[taken]] = values[taken]
    index.close()
    _check(row, ids, made, varied)
    return made


def _check(row: str, ids: Sequence[str], made: dict[str, NDArray[np.float16]], varied: bool) -> None:
    """Refuse numbers that are not finite, and features that say nothing.

    Raises:
        TableError: Naming the row.
    """
    odd = np.zeros(len(ids), bool)
    for values in made.values():
        for place in range(values.shape[1]):
            odd |= ~np.isfinite(values[:, place]).all(axis=1)
    if odd.any():
        named = [ids[number] for number in np.flatnonzero(odd)[:NAMED]]
        raise TableError(
            f"{row}: {odd.sum()} of {len(ids)} images have features that are no finite numbers ({', '.join(named)}); "
            "wanted numbers: delete results/zoo/kept and run zoo.embed again, or take another model"
        )
    statistics = [values for name, values in made.items() if name in STATISTICS]
    if varied and len(ids) > 1 and all((values == values[:1]).all() for values in statistics):
        raise TableError(
            f"{row}: all {len(ids)} images have the same features, wanted features that depend on the image: the model "
            "does not see them; look at its weights and at the normalized images"
        )


class TokenFiles:
    """Patch tokens of images, read as they are asked for: memory does not grow with the number of images.

    Item `number` is float16 of shape (places, rows, columns, features), of the image of that number in `ids`.

    Attributes:
        ids: Images, in their order.
        shape: Of one image: (places, rows, columns, features).
    """

    def __init__(
        self,
        row: str,
        paths: Sequence[Path],
        ids: Sequence[str],
        preprocessing_hash: str | None = None,
        held_bytes: int = HELD_BYTES,
    ) -> None:
        """Open the files of all shards.

        Args:
            row: Name of the row that reads them, for errors.
            paths: Tables of TOKENS.
            ids: Images, in the order that is wanted.
            preprocessing_hash: That the images must be of; None for any one.
            held_bytes: Of tokens that stay in memory for the next image, beside what is asked for.

        Raises:
            TableError: If a file is missing, damaged or of another kind, or lacks an image.
            MismatchError: If images are not of one preprocessing hash, or not of the one that is wanted.
        """
        self.ids = ids
        self._row, self._most = row, held_bytes
        self._index = Index(row, paths, TOKENS, ids, preprocessing_hash)
        self._held: OrderedDict[tuple[int, int], NDArray[np.float16]] = OrderedDict()
        self.shape = self._shape()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, number: int) -> NDArray[np.float16]:
        """Tokens of one image.

        Raises:
            TableError: If the file is damaged there, or a token is not a finite number.
        """
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        number %= len(self)
        made = np.empty(self.shape, np.float16)
        for place, (file, group, line) in enumerate(self._index.rows_of(number)):
            made[place] = self._group(file, group)[line].reshape(self.shape[1:])
        if not np.isfinite(made).all():
            raise TableError(
                f"{self._row}: {self.ids[number]} has tokens that are no finite numbers; wanted numbers: delete "
                "results/zoo/kept and run zoo.tokens again, or take another model"
            )
        return made

    def batches(self, size: int, numbers: Sequence[int] | None = None) -> Iterator[NDArray[np.float16]]:
        """Tokens of images in batches, float16 of shape (n, places, rows, columns, features).

        Args:
            size: Images of a batch; the last may have fewer.
            numbers: Images by number, in the order that is wanted; all in the order of `ids` if left out.
        """
        wanted = range(len(self)) if numbers is None else numbers
        for start in range(0, len(wanted), size):
            yield np.stack([self[number] for number in wanted[start : start + size]])

    def close(self) -> None:
        """Close the files."""
        self._index.close()

    def _shape(self) -> tuple[int, int, int, int]:
        """Shape of the tokens of one image, from its row of the table."""
        if not self.ids:
            return (0, 0, 0, 0)
        file, group, line = self._index.rows_of(0)[0]
        table = self._index.files[file].read(group, ["rows", "columns"])
        rows, columns = (int(table[name][line].as_py()) for name in ("rows", "columns"))
        numbers = self._group(file, group).shape[1]
        if numbers % (rows * columns):
            raise TableError(
                f"{self._row}: {numbers} numbers an image in {rows} x {columns} tokens; run zoo.tokens again"
            )
        return (self._index.places, rows, columns, numbers // (rows * columns))

    def _group(self, file: int, group: int) -> NDArray[np.float16]:
        """Tokens of a row group, float16 of shape (rows of the table, numbers)."""
        key = file, group
        if key not in self._held:
            found = self._index.numbers(file, group, "tokens")
            while self._held and sum(one.nbytes for one in self._held.values()) + found.nbytes > self._most:
                self._held.popitem(last=False)
            self._held[key] = found
        self._held.move_to_end(key)
        return self._held[key]


class Index:
    """Where the rows of images stand in the files of all shards.

    Attributes:
        paths: The files.
        files: The same, opened.
        places: Places that each image is seen at.
    """

    def __init__(
        self, row: str, paths: Sequence[Path], schema: Schema, ids: Sequence[str], preprocessing_hash: str | None
    ) -> None:
        """Read ids, places and hashes; for arguments and errors see `features`."""
        self.paths = list(paths)
        self._row, self._stage = row, f"zoo.{'embed' if schema is FEATURES else 'tokens'}"
        remedy = f"{row} cannot read it: delete it and run {self._stage} again"
        self.files = [Groups(path, schema, remedy) for path in self.paths]
        self._count = len(ids)
        self._wanted = pa.array(ids, pa.string())
        self._where: dict[tuple[int, int], tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self._hashes: dict[str, Path] = {}  # of images that are wanted, each with a file that has it
        found = [self._read(file, group) for file, one in enumerate(self.files) for group in range(len(one.rows))]
        rows = np.concatenate(found) if found else np.zeros((0, 5), np.int64)  # image, place, file, group, line
        self._check_ids(ids, rows[:, 0])
        self._check_hashes(ids, preprocessing_hash)
        order = np.lexsort((rows[:, 1], rows[:, 0]))
        self._rows = rows[order]
        counts = np.bincount(self._rows[:, 0], minlength=self._count)
        self.places = int(counts.max(initial=0))
        straight = np.tile(np.arange(self.places), self._count)
        if (counts != self.places).any() or (self._rows[:, 1] != straight).any():
            raise TableError(
                f"{row}: found images at {sorted(set(counts.tolist()))} places in {self._files()}, wanted all at the "
                f"same; run {self._stage} again"
            )

    def groups(self) -> Iterator[tuple[int, int]]:
        """Number of the file and of the row group in it, of each group that holds an image that is wanted."""
        yield from (key for key, (images, _) in self._where.items() if (images >= 0).any())

    def where(self, file: int, group: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of the image, -1 if it is not wanted, and place, of each row of a group."""
        return self._where[file, group]

    def rows_of(self, number: int) -> list[tuple[int, int, int]]:
        """File, row group and row in it of each place of an image."""
        rows = self._rows[number * self.places : (number + 1) * self.places]
        return [(int(file), int(group), int(line)) for _, _, file, group, line in rows]

    def numbers(self, file: int, group: int, column: str) -> NDArray[np.float16]:
        """A column of half-precision numbers, float16 of shape (rows of the group, numbers)."""
        lists = self.files[file].read(group, [column])[column].combine_chunks()
        lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
        widths = np.diff(lists.offsets.to_numpy())
        if lists.null_count or len(set(widths.tolist())) > 1:
            raise TableError(f"{self._row}: {self.paths[file]} has rows of several widths; run {self._stage} again")
        values = lists.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(values, np.float16).reshape(len(lists), int(widths[0]) if len(widths) else 0)

    def close(self) -> None:
        """Close the files."""
        for file in self.files:
            file.close()

    def _read(self, file: int, group: int) -> NDArray[np.int64]:
        table = self.files[file].read(group, ["image_id", "place", "preprocessing_hash"])
        at = pc.fill_null(pc.index_in(table["image_id"], self._wanted), -1).to_numpy().astype(np.int64)
        places = table["place"].to_numpy().astype(np.int64)
        self._where[file, group] = at, places
        hashes = table["preprocessing_hash"].filter(pa.array(at >= 0)).unique().to_pylist()
        for one in hashes:
            self._hashes.setdefault(one, self.paths[file])
        lines = np.flatnonzero(at >= 0)
        whose = np.full((len(lines), 2), [file, group])
        return np.column_stack([at[lines], places[lines], whose, lines])

    def _check_ids(self, ids: Sequence[str], found: NDArray[np.int64]) -> None:
        there = np.zeros(len(ids), bool)
        there[found] = True
        if not there.all():
            lacking = [ids[int(number)] for number in np.flatnonzero(~there)]
            raise TableError(
                f"{self._row}: {self._files()} lack {len(lacking)} of {len(ids)} images "
                f"({', '.join(lacking[:NAMED])}); run {self._stage} again"
            )

    def _check_hashes(self, ids: Sequence[str], wanted: str | None) -> None:
        others = {one: path for one, path in self._hashes.items() if one != wanted}
        if not ids or (wanted is None and len(self._hashes) == 1) or not others:
            return
        told = "; ".join(f"{path} is of images of the preprocessing hash {one}" for one, path in self._hashes.items())
        raise MismatchError(
            f"{self._row}: {told}; wanted {wanted or 'one of all files'}: the pixels of training and of inference come "
            f"from one function, so run {self._stage} again"
        )

    def _files(self) -> str:
        return ", ".join(map(str, self.paths)) or "no file of features"
