"""What is wrong with a set of captions, each fault with its number.

fragment    the same words in >= 80 % of the captions: they bind to the persona instead of the trigger
missing     captions without the trigger: those pictures teach nothing about it
leaking     the trigger twice in one caption, inside another word, or the persona's name beside it
long        more than 75 tokens: the rest is cut off or starts a second chunk
accessory   something worn that was seen in the picture and is not in its caption: it is learnt as part of the face
repeated    one caption, word for word, under several pictures: nothing in it tells them apart
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vultus.datasets.captioning import Caption
from vultus.datasets.captions import find_leaks
from vultus.datasets.coverage import accessories_in
from vultus.datasets.persona import Persona
from vultus.datasets.tokens import MOST_TOKENS, count_tokens

FRAGMENT_SHARE = 0.8
REPEATED_SHARE = 0.1


@dataclass(frozen=True)
class Lint:
    """One fault of the captions: which, how many of how many, in which pictures."""

    kind: str
    detail: str
    count: int
    of: int
    names: tuple[str, ...]


def lint_captions(
    captions: Sequence[Caption], persona: Persona, seen: Mapping[str, str] | None = None
) -> list[Lint]:
    """All faults, worst kind first. `seen` are words of a tagger per picture: what the pictures show."""
    return [
        *_missing(captions, persona),
        *_leaking(captions, persona),
        *_fragments(captions, persona),
        *_long(captions),
        *_accessories(captions, seen or {}),
        *_repeated(captions),
    ]


def _missing(captions: Sequence[Caption], persona: Persona) -> list[Lint]:
    names = [c.name for c in captions if not _times(c.text, persona.trigger)]
    detail = f"the trigger {persona.trigger!r} is missing"
    return _lint("missing", detail, names, captions)


def _leaking(captions: Sequence[Caption], persona: Persona) -> list[Lint]:
    trigger = re.escape(persona.trigger)
    twice = [c.name for c in captions if _times(c.text, persona.trigger) > 1]
    inside = [
        c.name for c in captions if re.search(rf"\w{trigger}|{trigger}\w", c.text, re.IGNORECASE)
    ]
    found = _lint("leaking", f"the trigger {persona.trigger!r} stands twice", twice, captions)
    found += _lint(
        "leaking", f"the trigger {persona.trigger!r} is part of a longer word", inside, captions
    )
    if persona.name.lower() != persona.trigger.lower():
        named = [c.name for c in captions if _times(c.text.lower(), persona.name.lower())]
        found += _lint(
            "leaking",
            f"the persona's name {persona.name!r} stands beside the trigger",
            named,
            captions,
        )
    return found


def _fragments(captions: Sequence[Caption], persona: Persona) -> list[Lint]:
    found: list[Lint] = []
    for leak in find_leaks([c.text for c in captions], persona, FRAGMENT_SHARE):
        names = [c.name for c in captions if leak.fragment in _parts(c.text)]
        found += _lint("fragment", f"{leak.fragment!r} binds to the persona", names, captions)
    return found


def _long(captions: Sequence[Caption]) -> list[Lint]:
    counts = {c.name: count_tokens(c.text) for c in captions}
    names = [name for name, count in counts.items() if count > MOST_TOKENS]
    longest = max(counts.values(), default=0)
    detail = f"more than {MOST_TOKENS} tokens (longest {longest})"
    return _lint("long", detail, names, captions)


def _accessories(captions: Sequence[Caption], seen: Mapping[str, str]) -> list[Lint]:
    untold: dict[str, list[str]] = {}
    for caption in captions:
        for thing in accessories_in(seen.get(caption.name, "")):
            if thing not in accessories_in(caption.text):
                untold.setdefault(thing, []).append(caption.name)
    return [
        lint
        for thing, names in sorted(untold.items())
        for lint in _lint("accessory", f"{thing} seen but not in the caption", names, captions)
    ]


def _repeated(captions: Sequence[Caption]) -> list[Lint]:
    counts = Counter(c.text for c in captions)
    found: list[Lint] = []
    for text, count in counts.most_common():
        if count >= max(3, REPEATED_SHARE * len(captions)):
            names = [c.name for c in captions if c.text == text]
            found += _lint("repeated", f"one caption for all of them: {text!r}", names, captions)
    return found


def _lint(kind: str, detail: str, names: Sequence[str], captions: Sequence[Caption]) -> list[Lint]:
    return [Lint(kind, detail, len(names), len(captions), tuple(names))] if names else []


def _parts(text: str) -> set[str]:
    return {part.strip() for part in text.split(",")}


def _times(text: str, word: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text))


__all__ = ["Lint", "lint_captions"]
