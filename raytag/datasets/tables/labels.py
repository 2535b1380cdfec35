"""Labels in the cells of a table: how they are separated, and names that look like mistakes."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from raytag.datasets.findings import Finding, Problems, some
from raytag.datasets.listing import ListedClip
from raytag.datasets.table import DatasetError
from raytag.datasets.tables.csv_file import DELIMITERS, one_form

#: What ``--labels-separator`` takes: a sign of `DELIMITERS`, its name, or one of these.
WORDS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "blank": " ", "none": ""}
_LIST = re.compile(r"\[.*\]|\{.*\}", re.DOTALL)
#: An item of a list as Python, pandas and numpy write it: quoted, or all up to a comma.
_ITEM = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^,'"\[\]{}]+))\s*,?\s*""")
#: Names that missing values leave when a table is written.
_MISSING = {"nan", "none", "null", "n/a", "#n/a", "<na>"}
#: Columns of raytag's own tables of predictions, which have one column a class beside them.
RESERVED = ("fname",)
_MEND = "Write each class in one way"


def separator_of(text: str) -> str:
    """The sign that ``--labels-separator`` means; "" for one label a cell.

    Raises
    ------
    DatasetError
        It means none.
    """
    sign = WORDS.get(text.strip().lower(), text)
    if sign not in WORDS.values():
        raise DatasetError(f"--labels-separator {text}: there are {', '.join(WORDS)}, and the signs , ; |")
    return sign


def split_cells(
    path: Path, cells: Sequence[tuple[int, str]], separator: str | None, classes: Collection[str] = ()
) -> tuple[list[tuple[str, ...]], str]:
    """Labels of each cell of a column.

    Parameters
    ----------
    path : Path
        For messages.
    cells : sequence of (line, text)
    separator : str or None
        The sign between labels, "" for one label a cell; None recognises it: lists as pandas writes them, else the
        only sign of `DELIMITERS` that any cell holds, or the only one that makes all labels ``classes``.
    classes : collection of str
        Classes that are known beforehand; their names may hold the separator.

    Returns
    -------
    labels : list of tuple of str
    how : str
        ``commas``, ``lists``, … as the user is told; "" where no cell has two labels.

    Raises
    ------
    DatasetError
        More than one separator is possible, an empty label, a label twice in a cell, or a broken list.
    """
    filled = [(line, text) for line, text in cells if text]
    if separator is None and filled and any(_LIST.fullmatch(text) for _, text in filled):
        known = set(classes)
        others = [(line, text) for line, text in filled if not _LIST.fullmatch(text)]
        if not others and not any(text in known for _, text in filled):
            return _each(path, cells, _of_list), "lists"
        quoted = [line for line, text in filled if re.match(r"[\[{]\s*['\"]", text)]
        if quoted:
            raise DatasetError(
                f"{path}:{others[0][0]}: {others[0][1]!r} is no list of labels, but line {quoted[0]} has one; "
                "write all of them alike, or all as they are with --labels-separator"
            )
    if separator is None:
        separator = _recognise(path, filled, classes)
    sign = separator

    def split(text: str) -> tuple[str, ...]:
        return _of_text(text, sign, classes)

    many = bool(sign) and any(sign in text for _, text in filled)
    return _each(path, cells, split), DELIMITERS.get(sign, "blanks") if many else ""


def how_labels(how: str, what: str = "labels") -> str:
    """What `split_cells` found, for the end of a sentence."""
    return {"": "", "lists": f"; {what} are lists"}.get(how, f"; {what} separated by {how}")


def _recognise(path: Path, filled: Sequence[tuple[int, str]], classes: Collection[str]) -> str:
    """The sign between labels, "" where no cell holds any."""
    lines = {sign: [line for line, text in filled if sign in text] for sign in DELIMITERS}
    found = [sign for sign in DELIMITERS if lines[sign]]
    if len(found) > 1 and classes:
        known = set(classes)
        found = [
            s for s in found if all(known.issuperset(_of_text(text, s, classes)) for _, text in filled)
        ] or found
    if len(found) > 1:
        where = " and ".join(f"{DELIMITERS[s]} in {len(lines[s])} cells (line {lines[s][0]})" for s in found)
        raise DatasetError(
            f"{path}:{lines[found[0]][0]}: labels hold {where}: say which separates them with --labels-separator "
            + " or ".join(word for word, sign in WORDS.items() if sign in found)
        )
    return found[0] if found else ""


def _each(path: Path, cells: Sequence[tuple[int, str]], split) -> list[tuple[str, ...]]:  # type: ignore[no-untyped-def]
    found, problems = [], Problems()
    for line, text in cells:
        try:
            labels = split(text) if text else ()
        except ValueError as error:
            labels, fault = (), str(error)
        else:
            fault = fault_of(labels, text)
        if fault:
            problems.add(path, line, fault)
        found.append(labels)
    problems.raise_any()
    return found


def fault_of(labels: Sequence[str], text: str) -> str:
    """What is wrong with the labels of a cell; "" when nothing is."""
    if "" in labels:
        return f"an empty label in {text!r}"
    if len(set(labels)) < len(labels):
        return f"a label stands twice in {text!r}"
    return ""


def _of_text(text: str, sign: str, classes: Collection[str]) -> tuple[str, ...]:
    if not sign or text in classes:
        return (text,)
    if sign == " ":
        return tuple(text.split())
    if '"' in text:  # a name that holds the sign can be quoted within its cell
        try:
            row = next(
                csv.reader(io.StringIO(text, newline=""), delimiter=sign, skipinitialspace=True, strict=True)
            )
        except csv.Error:
            row = text.split(sign)  # a quote that is part of a name
        parts = [part.strip() for part in row]
    else:
        parts = [part.strip() for part in text.split(sign)]
    if not any(sign in name for name in classes):
        return tuple(parts)
    return tuple(_longest(parts, sign, {_plain(name): name for name in classes}))


def _longest(parts: list[str], sign: str, classes: dict[str, str]) -> Iterable[str]:
    """Parts of a cell joined where several of them make the name of a class."""
    while parts:
        for n in range(len(parts), 0, -1):
            name = classes.get(_plain(sign.join(parts[:n])))
            if name is not None or n == 1:
                yield name or parts[0]
                parts = parts[n:]
                break


def _plain(name: str) -> str:
    return re.sub(r"\s+", "", name)


def _of_list(text: str) -> tuple[str, ...]:
    """Labels of a list such as ``['dog', 'cat']``, ``["dog"]``, ``['dog' 'cat']`` (numpy's) or ``[dog, cat]``."""
    inside, items, at = text[1:-1].strip(), [], 0
    while at < len(inside):
        match = _ITEM.match(inside, at)
        if match is None:
            raise ValueError(f"{text} is no list of labels, which are written as ['dog', 'cat']")
        quoted = match[1] if match[1] is not None else match[2]
        items.append(one_form(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match[3]))
        at = match.end()
    return tuple(item for item in items if item)


def check_names(classes: Sequence[str], table: str) -> None:
    """Refuse names that raytag's own tables use, with a ``DatasetError``."""
    for name in classes:
        if name.casefold() in RESERVED:
            raise DatasetError(
                f"{table}: a class cannot be called {name!r}, which is a column of every table of predictions; "
                "give it another name"
            )


def findings(classes: Sequence[str], curated: Sequence[ListedClip]) -> list[Finding]:
    """Names of classes that look like mistakes, with the first line that has each."""
    counts = Counter(label for entry in curated for label in entry.labels)
    named = dict.fromkeys(classes, "")
    for entry in reversed(curated):
        where = f", first on {entry.csv.name}:{entry.line}" if entry.csv else ""
        named |= {label: f"{label!r} {_times(counts[label])}{where}" for label in entry.labels}
    named |= {name: f"{name!r} never" for name in classes if not counts[name]}
    found = [_single(classes), _alike(named), _odd(named), _missing(named), _parts(named)]
    return [one for one in [*found, *_together([entry.labels for entry in curated])] if one is not None]


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _single(classes: Sequence[str]) -> Finding | None:
    if len(classes) != 1:
        return None
    text = f"{classes[0]!r} is the only class: lwlrap ranks the classes of a clip, so it is 1 whatever is predicted"
    mend = "Give the clips without it a class of their own, such as other"
    return Finding("one-class", text, mend, wrong=True)


def _alike(classes: Mapping[str, str]) -> Finding | None:
    """Classes that differ only in case, blanks, hyphens and underscores, or in signs that are not seen."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        seen = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
        alike.setdefault(re.sub(r"[\s_\-\u2010-\u2015]+", "", seen.casefold()), []).append(name)
    pairs = ["; ".join(classes[name] for name in names) for names in alike.values() if len(names) > 1]
    if not pairs:
        return None
    text = some(pairs, "class is written in several ways", "classes are written in several ways")
    return Finding("labels-alike", text, f"{_MEND}: they are trained as different classes", wrong=True)


def _odd(classes: Mapping[str, str]) -> Finding | None:
    """Names with a bracket or a quote that nothing closes: a list or a name that was cut in two."""
    odd = [
        told
        for name, told in classes.items()
        if any(name.count(a) != name.count(b) for a, b in ("()", "[]", "{}"))
        or name.count('"') % 2
        or re.search(r"^['\[{]|['\]}]$", name)
    ]
    if not odd:
        return None
    text = some(odd, "class has brackets or quotes in its name", "classes have brackets or quotes in their names")
    mend = "If these are parts of a list or of a longer name, see --labels-separator"
    return Finding("labels-brackets", text, mend, wrong=True)


def _missing(classes: Mapping[str, str]) -> Finding | None:
    names = [told for name, told in classes.items() if name.casefold() in _MISSING]
    if not names:
        return None
    text = some(names, "class is called as a missing value is", "classes are called as missing values are")
    return Finding("labels-missing", text, "Leave the cell of a clip without a label empty", wrong=True)


def _parts(classes: Mapping[str, str]) -> Finding | None:
    """Classes whose parts are classes: labels that another sign separates."""
    known = set(classes)
    joined = []
    for name, told in classes.items():
        for pattern in (r"\s*[,;|\t/+&]\s*", r"\s+"):
            parts = re.split(pattern, name)
            if len(parts) > 1 and known.issuperset(parts):
                joined.append(f"{told}, beside {' and '.join(map(repr, parts))}")
                break
    if not joined:
        return None
    text = some(joined, "class consists of other classes", "classes consist of other classes")
    return Finding("labels-parts", text, "If several labels stand there, see --labels-separator", wrong=True)


def _together(labels: Sequence[Sequence[str]]) -> list[Finding]:
    """Classes that no clip has without the other: of two names, or of one name with a comma in it."""
    clips: dict[str, list[int]] = {}
    for i, own in enumerate(labels):
        for label in own:
            clips.setdefault(label, []).append(i)
    same: dict[tuple[int, ...], list[str]] = {}
    for label, rows in clips.items():
        if len(rows) > 1:
            same.setdefault(tuple(rows), []).append(label)
    groups = [(names, rows) for rows, names in same.items() if len(names) > 1]
    if not groups:
        return []
    shown = [f"{' and '.join(map(repr, names))} in {len(rows)} clips" for names, rows in groups]
    text = some(shown, "set of classes always comes together", "sets of classes always come together")
    mend = "If that is one name with a comma in it, quote it within its cell or see --labels-separator"
    return [Finding("labels-together", text, mend)]
