"""
Text to a tree that knows where everything was written.

Built from PyYAML's events rather than from its nodes: a loop instead of a recursion, so that nesting can be
bounded; aliases are seen as such, so that their expansion can be; and no YAML 1.1 resolver has yet taken `no`
for false or `1:30` for ninety. What a scalar means is decided where its type is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

from proxy.config.problems import Path, Place, Report, quote
from proxy.config.source import Lines
from proxy.config.syntax import explain

MAX_DEPTH = 64
"""Levels of nesting; the format itself needs about ten."""

MAX_VALUES = 200_000
"""Keys, values and lists in a file, which takes two seconds to read; 10,000 examples are a twentieth of it."""

MAX_ALIASED = 100_000
"""Values that aliases may repeat, all together: the bound against a file of ten lines that means a billion."""

_CHARACTERS_A_VALUE = 256
"""A long text counts as so many values: to repeat a megabyte is work too."""

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml: 28 times faster on 10,000 examples

_SURROGATE = re.compile("[\ud800-\udfff]")

_YAML = "tag:yaml.org,2002:"
_TEXT_TAGS = {"!", _YAML + "str"}
_PLAIN_TAGS = {None, *(_YAML + name for name in ("int", "float", "bool", "null"))}


@dataclass(slots=True)
class Scalar:
    """One value, not yet taken for anything."""

    place: Place
    text: str
    plain: bool = True
    """Written without quotes, so it may be a number, true, false or null where one is expected."""
    written: str | None = None
    """How the file has it, when `text` has been filled in from the environment and must not be shown."""
    size: int = 1
    is_text: bool = False
    """By its quotes or its tag, whatever a variable in it looks like; in flow style only by its tag."""
    has_escapes: bool = False
    """Written in double quotes, in which a backslash is YAML's."""

    @property
    def is_absent(self) -> bool:
        return self.plain and not self.text and self.written is None

    @property
    def is_null(self) -> bool:
        return self.plain and self.written is None and self.text in ("null", "Null", "NULL", "~")

    def __str__(self) -> str:
        """How a message may quote it."""
        if self.written is not None:
            return quote(self.written)[1:-1]
        return self.text if self.is_null else quote(self.text)


@dataclass(slots=True)
class Entry:
    key: Scalar
    value: Node


@dataclass(slots=True)
class Mapping:
    place: Place
    entries: dict[str, Entry] = field(default_factory=dict)
    size: int = 0  # 0 while it is being read: an alias to it would be inside it
    is_whole: bool = True
    """Not when something that was to be merged into it is missing: nobody knows which keys it would have."""


@dataclass(slots=True)
class Sequence:
    place: Place
    items: list[Node] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True)
class Spoiled:
    """A value whose problem has been reported; whoever meets it says nothing more."""

    place: Place
    size: int = 1


Node = Scalar | Mapping | Sequence | Spoiled


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole file."""

    root: Mapping

    def node(self, path: Path) -> Node:
        """What is written at `path`; the nearest value around it when nothing is."""
        return self._entry(path)[1]

    def place(self, path: Path) -> Place:
        return self._entry(path)[1].place

    def key_place(self, path: Path) -> Place:
        """Where the key is written that `path` ends with."""
        key, value = self._entry(path)
        return value.place if key is None else key.place

    def has(self, path: Path) -> bool:
        """Whether the key that `path` ends with is written."""
        around = self.node(path[:-1])
        return isinstance(around, Mapping) and path[-1] in around.entries

    def _entry(self, path: Path) -> tuple[Scalar | None, Node]:
        key, node = None, self.root  # type: tuple[Scalar | None, Node]
        for step in path:
            if isinstance(node, Mapping) and step in node.entries:
                entry = node.entries[str(step)]
                key, node = entry.key, entry.value
            elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
                key, node = None, node.items[step]
            else:
                break
        return key, node


def read_tree(text: str, report: Report, *, loader: type | None = None) -> Tree:
    """
    Read one YAML document whose top is a mapping.

    Duplicate keys, unknown tags and the like go to `report`, and the rest of the tree is returned.

    Raises:
        ConfigError: the text is not YAML, so there is no tree.
    """
    lines = Lines(text)
    builder = _Builder(lines, report)
    try:
        for event in yaml.parse(text, Loader=loader or _LOADER):
            builder.take(event)
        is_whole = True
    except yaml.YAMLError as error:
        place, message = explain(error, lines)
        report.add(place, (), message)
        is_whole = False
    except (ValueError, OverflowError):  # PyYAML's own parser, on an escape like "\\UFFFFFFFF"
        report.add(builder.place, (), "an escape behind this place means no character")
        is_whole = False
    except _Hopeless as stop:
        report.add(stop.place, (), stop.message)
        is_whole = False
    if not is_whole:
        # Out of the `except`, or a traceback would show YAML's own error too, which quotes the file.
        report.unless_empty()
    root = builder.root
    if root is None or (isinstance(root, Scalar) and (root.is_absent or root.is_null)):
        report.add(Place(1, 1), (), "the file is empty; `pointsman init` writes a starter")
    elif not isinstance(root, Mapping):
        report.add(root.place, (), "expected keys and values, such as `version: 1`")
    if not isinstance(root, Mapping):
        report.unless_empty()
    assert isinstance(root, Mapping)
    return Tree(root)


class _Hopeless(Exception):
    """Reading on would be dangerous or pointless."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place, self.message = place, message


@dataclass(slots=True)
class _Open:
    """A mapping or sequence whose end has not been read."""

    node: Mapping | Sequence | Spoiled
    is_flow: bool
    """Between braces or brackets, where YAML demands quotes around a variable."""
    key: Scalar | None = None
    awaits_value: bool = False
    merges: list[tuple[Scalar, Node]] = field(default_factory=list)
    size: int = 1


class _Builder:
    def __init__(self, lines: Lines, report: Report) -> None:
        self.root: Node | None = None
        self._lines, self._report = lines, report
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._values = 0
        self._aliased = 0
        self._documents = 0
        self.place = Place(1, 1)
        """Of the last thing read."""

    def path(self) -> Path:
        """Where the next value belongs."""
        steps: list[str | int] = []
        for opened in self._stack:
            if isinstance(opened.node, Sequence):
                steps.append(len(opened.node.items))
            elif opened.key is not None:
                steps.append(opened.key.text)
        return tuple(steps)

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _Hopeless(self._place(event), "a second document begins here; a file holds one")

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        assert mark is not None  # only events made by hand lack one
        self.place = self._lines.inside(mark.line, mark.column)
        return self.place

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        place, tag = self._place(event), event.tag
        node: Node
        if _SURROGATE.search(event.value):  # from an escape; libyaml refuses those itself
            self._report.add(place, self.path(), "an escape in this text means half of a character")
            node = Spoiled(place)
        elif tag in _TEXT_TAGS:
            node = Scalar(place, event.value, plain=False, is_text=True)
        elif tag in _PLAIN_TAGS:
            plain = tag is not None or not event.style
            in_flow = bool(self._stack) and self._stack[-1].is_flow
            node = Scalar(place, event.value, plain=plain, is_text=not plain and not in_flow)
        else:
            node = self._unknown_tag(place, str(tag))
        if isinstance(node, Scalar):
            node.has_escapes = event.style == '"'
        node.size += len(event.value) // _CHARACTERS_A_VALUE
        if event.anchor:
            self._anchors[event.anchor] = node
        self._put(node)

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        place = self._place(event)
        if len(self._stack) >= MAX_DEPTH:
            raise _Hopeless(place, f"nested deeper than {MAX_DEPTH} levels")
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        node: Mapping | Sequence | Spoiled = Mapping(place) if is_mapping else Sequence(place)
        if event.tag not in (None, "!", _YAML + ("map" if is_mapping else "seq")):
            node = self._unknown_tag(place, event.tag)
        if event.anchor:
            self._anchors[event.anchor] = node
        self._stack.append(_Open(node, bool(event.flow_style)))

    def _end(self) -> None:
        opened = self._stack.pop()
        node = opened.node
        if isinstance(node, Mapping):
            self._stack.append(opened)  # so that the path of a problem with a merge is right
            for key, source in opened.merges:
                opened.key = key
                self._merge(node, source)
            self._stack.pop()
        node.size = opened.size
        self._put(node)

    def _alias(self, event: yaml.AliasEvent) -> None:
        place, name = self._place(event), str(event.anchor)
        node = self._anchors.get(name)
        if node is None:
            hint = 'no anchor has this name; put a pattern in quotes, like "*"'
            self._report.add(place, self.path(), f"alias *{quote(name)[1:-1]}: {hint}")
            node = Spoiled(place)
        elif node.size == 0:
            self._report.add(place, self.path(), f"alias *{quote(name)[1:-1]} stands inside what it repeats")
            node = Spoiled(place)
        self._aliased += node.size
        if self._aliased > MAX_ALIASED:
            raise _Hopeless(place, f"aliases repeat more than {MAX_ALIASED:,} values; write fewer of them")
        self._put(node)

    def _unknown_tag(self, place: Place, tag: str) -> Spoiled:
        name = "!!" + tag.removeprefix(_YAML) if tag.startswith(_YAML) else tag
        self._report.add(place, self.path(), f"unknown YAML tag {quote(name)}; remove it, or put the text in quotes")
        return Spoiled(place)

    def _put(self, node: Node) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise _Hopeless(self.place, f"more than {MAX_VALUES:,} keys and values; is this the right file?")
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        parent.size += node.size
        if isinstance(parent.node, Sequence):
            parent.node.items.append(node)
        elif not parent.awaits_value:
            parent.key, parent.awaits_value = self._key(node), True
        else:
            if parent.key is not None and isinstance(parent.node, Mapping):
                self._enter(parent, parent.node, parent.key, node)
            parent.key, parent.awaits_value = None, False

    def _key(self, node: Node) -> Scalar | None:
        """The key that `node` is; None when it cannot be one, whose value is then left out."""
        if isinstance(node, Scalar) and node.text and not node.is_null:
            return node
        if not isinstance(node, Spoiled):
            what = "must be a name, not a list or mapping"
            if isinstance(node, Scalar):
                what = f"is {node.text}; put it in quotes for the word" if node.text else "is empty"
            self._report.add(node.place, self.path(), f"this key {what}")
        return None

    def _enter(self, parent: _Open, node: Mapping, key: Scalar, value: Node) -> None:
        if key.text == "<<" and key.plain:
            if parent.merges:
                self._report.add(key.place, self.path(), "a second '<<'; give one of them a list of mappings")
            parent.merges.append((key, value))
            return
        first = node.entries.get(key.text)
        if first is not None:
            self._report.add(key.place, self.path(), f"duplicate key; the first is on line {first.key.place.line}")
            return
        node.entries[key.text] = Entry(key, value)

    def _merge(self, node: Mapping, source: Node) -> None:
        """Add the entries that `node` does not have: what is written beside a `<<` wins over what it brings."""
        sources = source.items if isinstance(source, Sequence) else [source]
        for each in sources:
            if isinstance(each, Mapping):
                for name, entry in each.entries.items():
                    node.entries.setdefault(name, entry)
                node.is_whole &= each.is_whole
                continue
            node.is_whole = False
            if not isinstance(each, Spoiled):
                self._report.add(each.place, self.path(), "'<<' takes a mapping or a list of mappings")
