"""deploy/Dockerfile and .dockerignore, read as far as the tests need it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


@dataclass(frozen=True)
class Step:
    """One instruction, such as `COPY --from=build /a /b`."""

    name: str
    flags: dict[str, str]
    rest: str
    """All after the name and its flags."""

    @property
    def words(self) -> list[str]:
        """The rest: a JSON list as such, else as a shell splits it."""
        return list(json.loads(self.rest)) if self.rest.startswith("[") else shlex.split(self.rest)

    def after(self, word: str) -> list[str]:
        """The words of the list that follows this word, as in `HEALTHCHECK CMD ["python"]`."""
        return Step(self.name, {}, self.rest.removeprefix(word).strip()).words


@dataclass(frozen=True)
class Stage:
    """What one FROM begins."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list)

    def all(self, name: str) -> list[Step]:
        """Its instructions of this name."""
        return [step for step in self.steps if step.name == name]

    def one(self, name: str) -> Step:
        """Its only instruction of this name."""
        (step,) = self.all(name)
        return step

    @property
    def environ(self) -> dict[str, str]:
        """What its ENV instructions set."""
        return dict(word.split("=", 1) for step in self.all("ENV") for word in step.words)


def stages() -> list[Stage]:
    """The file's stages, in their order."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    found: list[Stage] = []
    arguments: dict[str, str] = {}
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        flags = {}
        while flag := re.match(r"\s*--([\w-]+)=(\S+)\s+", rest):
            flags[flag[1]] = flag[2]
            rest = rest[flag.end() :]
        if name == "ARG":
            variable, _, value = rest.partition("=")
            arguments[variable] = value
        elif name == "FROM":
            base, _, alias = rest.partition(" AS ")
            found.append(Stage(alias, re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], base)))
        else:
            found[-1].steps.append(Step(name, flags, rest.strip()))
    return found


def image() -> Stage:
    """The last one, which is the image."""
    return stages()[-1]


def context() -> Iterator[Path]:
    """The files of the checkout that .dockerignore lets into the build, relative to its top."""
    rules = [
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]  # fmt: skip
    tops = [rule[1:].split("/")[0] for rule in rules if rule.startswith("!")]
    for top in tops:
        for path in (ROOT / top, *(ROOT / top).rglob("*")):
            if path.is_file() and not _is_ignored(path.relative_to(ROOT), rules):
                yield path.relative_to(ROOT)


def _is_ignored(path: Path, rules: list[str]) -> bool:
    """The last rule that names it, or a folder that it is in, decides."""
    names = [str(path), *map(str, path.parents)][:-1]
    ignored = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        if pattern.startswith("**/"):
            hit = any(fnmatch(Path(name).name, pattern[3:]) for name in names)
        else:
            hit = any(name == pattern or (pattern == "*" and "/" not in name) for name in names)
        if hit:
            ignored = not rule.startswith("!")
    return ignored
