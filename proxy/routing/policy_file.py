"""
The file of a policy: a compressed `.npz` of plain numbers, and a text that says what they are.

It may come from anywhere, so nothing in it is believed: no pickle is ever read, an array is only made once its header
says the size that it must have, and a hash over all of it must be right.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from proxy.embedding import DIMENSIONS
from proxy.routing.forest import Forest
from proxy.routing.inputs import LINEAR
from proxy.routing.neighbours import Neighbours
from proxy.routing.policy import STEPS, Policy, Regions
from proxy.routing.shape import SIZE

FORMAT = 3
"""Raised with every change after which an older Pointsman would misread the file."""

MOST_BYTES = 64 * 1024 * 1024
"""Of a file and of what it unpacks to; a policy of 20 models takes 1 MB."""

_MOST_MODELS = 1000
_MOST_CENTRES = 16_384
_MOST_TREES = 1000
_MOST_NODES = 1_000_000
_MOST_SEEN = 4_000_000
_MOST_SHARP = 40.0
"""Beyond, the share of a far centre is no number of 32 bits any more."""
_LARGEST = 1e18
"""Beyond, the square of a number is none of 32 bits any more, and what is predicted would be no number either."""
_LEAST_PRIOR = 1e-6
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00.."
    rb"\{'descr': '([^']{1,9})', 'fortran_order': (True|False), 'shape': \(([0-9, ]{1,99})\), \} *\n",
    re.DOTALL,
)
"""Of a `.npy`, as numpy writes it. By hand, since numpy runs it through a parser that absurd text breaks."""


class PolicyUnusable(Exception):
    """The file is not a policy that can be used here; the message says why."""


class _About(msgspec.Struct):
    """The text in the file."""

    format: int
    models: list[str]
    embedder: str
    sharpness: list[float]
    prior: float
    about: dict[str, Any]


def pack(policy: Policy) -> bytes:
    """The file of a policy; the same policy always makes the same content, and so the same version."""
    near = policy.neighbours
    about = _About(FORMAT, list(policy.models), policy.embedder, list(near.sharpness), near.prior, dict(policy.about))
    arrays: dict[str, NDArray[Any]] = {name: getattr(policy, name) for name in _OF_POLICY}
    arrays |= {name: getattr(near, name) for name in _OF_NEIGHBOURS}
    arrays |= {f"tree_{name}": getattr(policy.forest, name) for name in _OF_FOREST}
    arrays |= {f"region_{name}": array for name, array in policy.regions._asdict().items()}
    arrays = {name: np.ascontiguousarray(array, dtype="<f4") for name, array in arrays.items()}
    arrays["seen"] = np.ascontiguousarray(policy.seen, dtype="<i8")
    arrays["about"] = np.frombuffer(msgspec.json.encode(about, order="sorted"), dtype=np.uint8)
    arrays["sha256"] = np.frombuffer(_digest(arrays), dtype=np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()


def unpack(content: bytes) -> Policy:
    """
    The policy of a file.

    Raises:
        PolicyUnusable: it is damaged, of another version, or never was one.
    """
    if len(content) > MOST_BYTES:
        raise PolicyUnusable(f"it has {len(content):,} bytes, more than the {MOST_BYTES:,} that a policy may have")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            text = _text_of(_member(archive, "about", MOST_BYTES // 64))
            about = _about(text.tobytes())
            arrays = {name: _array(archive, name, shape, most) for name, (shape, most) in _shapes(about).items()}
            seen = _plain(_member(archive, "seen", MOST_BYTES), np.dtype("<i8"), (None,), most=_MOST_SEEN)
            stored = _plain(_member(archive, "sha256", 1024), np.dtype(np.uint8), (32,)).tobytes()
    except (
        zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError, zlib.error, NotImplementedError, RecursionError,
    ) as error:  # fmt: skip
        raise PolicyUnusable("it is damaged, or no policy") from error
    except RuntimeError as error:  # of an encrypted archive
        raise PolicyUnusable("it is encrypted") from error
    digest = _digest({**arrays, "seen": seen, "about": text})
    if digest != stored:
        raise PolicyUnusable("its content is not what was written: its hash differs")
    directions, centres = arrays["centre"].size, len(arrays["centres"])
    agree = (
        arrays["axes"].shape[1] == arrays["centres"].shape[1] == directions
        and len(arrays["sums"]) == len(arrays["counts"]) == centres > 0
        and arrays["region_centres"].shape[1] == directions
        and len({len(arrays[f"region_{name}"]) for name in Regions._fields}) == 1
        and len(arrays["region_centres"]) > 0
        and len({len(arrays[f"tree_{name}"]) for name in _OF_FOREST if name != "roots"}) == 1
    )
    if not agree:
        raise PolicyUnusable("its arrays have other sizes than those of a policy")
    knows_no_costs = all(np.isnan(arrays[name]).all() for name in _OF_COSTS)
    for name, array in arrays.items():
        is_unknown = knows_no_costs and name in _OF_COSTS
        least = 0.0 if name in _NOT_NEGATIVE else -_LARGEST
        if not (is_unknown or ((least <= array) & (array <= _LARGEST)).all()):
            raise PolicyUnusable(f"its {name} are no numbers that a policy has")
    forest = Forest(**{name: arrays[f"tree_{name}"].astype(kind) for name, kind in _OF_FOREST.items()})
    if not forest.is_sound(SIZE + directions + 1):
        raise PolicyUnusable("its trees lead nowhere")
    near = Neighbours(
        **{name: arrays[name] for name in _OF_NEIGHBOURS}, sharpness=tuple(about.sharpness), prior=about.prior
    )
    return Policy(
        models=tuple(about.models),
        **{name: arrays[name] for name in _OF_POLICY},
        neighbours=near,
        forest=forest,
        regions=Regions(*(arrays[f"region_{name}"] for name in Regions._fields)),
        embedder=about.embedder,
        seen=seen.astype(np.int64),
        about=about.about,
        version=digest.hex()[:12],
    )


def check_fits(policy: Policy, *, embedder: str, models: Iterable[str] = ()) -> None:
    """
    See that a policy can be used here.

    Args:
        policy: what was read.
        embedder: the name of the embedding model that runs here.
        models: those that it must know.

    Raises:
        PolicyUnusable: it cannot.
    """
    if policy.embedder != embedder:
        raise PolicyUnusable(
            f"it was trained on vectors of {policy.embedder!r}, and here runs {embedder!r}; train it again"
        )
    if unknown := [name for name in models if name not in policy.models]:
        raise PolicyUnusable(
            f"it does not know {', '.join(map(repr, unknown))}; it knows {', '.join(map(repr, policy.models))}"
        )


_OF_POLICY = ("means", "mean_costs", "linear", "cost", "blends", "prefer")
_OF_COSTS = ("mean_costs", "cost")
"""NaN, all of them, where the policy was trained without costs."""
_NOT_NEGATIVE = ("means", "mean_costs", "counts")
_OF_NEIGHBOURS = ("axes", "centre", "centres", "sums", "counts")
_OF_FOREST: dict[str, type[np.generic]] = {
    "roots": np.int64, "asks": np.int64, "limits": np.float32, "firsts": np.int64, "values": np.float32,
}  # fmt: skip
"""Their numbers are all small enough for 32 bits of a float to hold exactly."""


def _shapes(about: _About) -> dict[str, tuple[tuple[int | None, ...], int]]:
    """What shape each array has, with None for a size that a policy chooses itself, and the most that may be."""
    models = len(about.models)
    shapes: dict[str, tuple[int | None, ...]] = {
        "means": (models,),
        "mean_costs": (models,),
        "linear": (LINEAR + 1, models),
        "cost": (LINEAR + 1, models),
        "blends": (len(about.sharpness) + 1, 2),
        "prefer": (STEPS, 2),
        "axes": (DIMENSIONS, None),
        "centre": (None,),
        "centres": (None, None),
        "sums": (None, models),
        "counts": (None, models),
        "region_centres": (None, None),
        "region_quality": (None, models),
        "region_counts": (None, models),
        "tree_asks": (None,),
        "tree_limits": (None,),
        "tree_firsts": (None,),
        "tree_values": (None, models),
    }
    return {
        **{name: (shape, _MOST_NODES if name.startswith("tree_") else _MOST_CENTRES) for name, shape in shapes.items()},
        "tree_roots": ((None,), _MOST_TREES),
    }


def _about(text: bytes) -> _About:
    # The format before all else: another one may have other members.
    version: Any = msgspec.json.decode(text)
    if isinstance(version, dict) and isinstance(version.get("format"), int) and version["format"] != FORMAT:
        way_out = "train it again" if version["format"] < FORMAT else "it takes a newer Pointsman"
        raise PolicyUnusable(f"it has format {version['format']}, and this Pointsman reads format {FORMAT}; {way_out}")
    try:
        about = msgspec.convert(version, _About)
    except msgspec.ValidationError as error:
        raise PolicyUnusable(f"what it says of itself cannot be understood: {error}") from error
    sound = (
        1 <= len(about.models) <= _MOST_MODELS
        and len(set(about.models)) == len(about.models)
        and 1 <= len(about.sharpness) <= 16
        and all(0 < each <= _MOST_SHARP for each in about.sharpness)
        and about.prior >= _LEAST_PRIOR
    )
    if not sound:
        raise PolicyUnusable("what it says of itself cannot be")
    return about


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    info = archive.getinfo(f"{name}.npy")
    if info.file_size > most:
        raise PolicyUnusable(f"its {name} would take {info.file_size:,} bytes")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PolicyUnusable("it is damaged, or no policy")
    with archive.open(info) as file:
        return file.read(most)


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int | None, ...], most: int) -> NDArray[np.float32]:
    found = _plain(_member(archive, name, MOST_BYTES), np.dtype("<f4"), shape, most)
    return found.astype(np.float32)


def _plain(content: bytes, dtype: np.dtype[Any], shape: tuple[int | None, ...], most: int = 0) -> NDArray[Any]:
    """The array of a `.npy` of this type and shape: read by hand, since numpy makes room for what a header claims."""
    head = _head(content)
    claimed = tuple(int(size) for size in head[3].decode().split(",") if size.strip())
    fits = len(claimed) == len(shape) and all(
        size == wanted or (wanted is None and 0 <= size <= most) for size, wanted in zip(claimed, shape, strict=True)
    )
    rest = content[head.end() :]
    is_its = (head[1].decode(), head[2]) == (dtype.str, b"False")
    if not fits or not is_its or len(rest) != int(np.prod(claimed)) * dtype.itemsize:
        raise PolicyUnusable("its arrays have other sizes than those of a policy")
    return np.frombuffer(rest, dtype=dtype).reshape(claimed)


def _text_of(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content[_head(content).end() :], dtype=np.uint8)


def _head(content: bytes) -> re.Match[bytes]:
    found = _HEADER.match(content)
    if found is None:
        raise PolicyUnusable("it is damaged, or no policy")
    return found


def _digest(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(repr((name, array.shape)).encode())
        digest.update(array.tobytes())
    return digest.digest()
