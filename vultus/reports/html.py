"""HTML from plain function calls; every text is escaped, every tag closed.

`tag("p", "5 < 6", class_="note")` gives `<p class="note">5 &lt; 6</p>`. What is already HTML is a
`Html` and is not escaped again, so a file name with `<script>` in it stays a file name.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

__all__ = ["Html", "join", "number", "raw", "strength_text", "tag"]

_EMPTY = frozenset({"meta", "img", "br", "line", "rect", "circle", "path", "polyline", "polygon"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def raw(text: str) -> Html:
    """Mark text as HTML; only for text that this room wrote itself."""
    return Html(text)


def tag(name: str, /, *children: str, **attributes: str | float | int | bool | None) -> Html:
    """One element. `class_` is class, `stroke_width` is stroke-width; None and False are left out."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _EMPTY and not children:
        return Html(f"<{name}{shown}/>")
    return Html(f"<{name}{shown}>{join(children)}</{name}>")


def join(children: Iterable[str]) -> Html:
    """Children one after the other, escaped unless they are HTML."""
    return Html("".join(c if isinstance(c, Html) else escape(c, quote=False) for c in children))


def number(value: float, digits: int = 1) -> str:
    """Fixed digits, a real minus sign, and no sign on a rounded zero."""
    text = f"{value:.{digits}f}"
    if float(text) == 0.0:
        text = text.lstrip("-")
    return text.replace("-", "\N{MINUS SIGN}")


def strength_text(strength: float) -> str:
    """A LoRA strength with at least one decimal, so that a row of them lines up."""
    return f"{strength:.1f}" if round(strength, 1) == strength else f"{strength:g}"


def _text(value: str | float | int | bool) -> str:
    if value is True:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
