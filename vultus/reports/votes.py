"""The page of a blind vote: references above, two renders side by side, a mark from 0 to 10 under each.

One file that loads nothing. A short script of its own, named by its hash in the Content-Security-Policy, gathers the
marks into a file that the browser saves; without scripts the marks are typed into `vultus votes --answer` instead. The
page knows neither cells nor scores: nothing on it tells which render is which.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from vultus.core.files import write_text
from vultus.reports.html import Html, join, raw, tag
from vultus.reports.thumbs import Thumbs
from vultus.studies.voting import Deck

__all__ = ["vote_page", "write_vote_page"]

SIDE_PX = 512
"""Larger than in a report: these are to be looked at."""

SCRIPT = """
const form = document.querySelector("form"), said = document.querySelector("output");
const key = "vultus votes " + form.dataset.deck;
const marks = () => [...document.querySelectorAll("fieldset")].flatMap((pair, i) => {
  const side = name => pair.querySelector("[name=" + name + i + "]").value;
  return side("left") && side("right") ? [{pair: i, left: +side("left"), right: +side("right")}] : [];
});
const tell = () => { said.textContent = marks().length + " of " + form.dataset.pairs + " pairs have both marks"; };
try {
  for (const [name, value] of Object.entries(JSON.parse(localStorage.getItem(key) || "{}")))
    if (form.elements[name]) form.elements[name].value = value;
} catch (gone) {}
form.addEventListener("change", () => {
  const kept = {};
  for (const one of form.querySelectorAll("select")) if (one.value) kept[one.name] = one.value;
  try { localStorage.setItem(key, JSON.stringify(kept)); } catch (full) {}
  tell();
});
form.addEventListener("submit", event => {
  event.preventDefault();
  const text = JSON.stringify({deck: form.dataset.deck, marks: marks()}, null, 1);
  const link = document.createElement("a");
  link.href = "data:application/json," + encodeURIComponent(text);
  link.download = "votes.json";
  link.click();
});
tell();
"""

STYLE = """
:root { color-scheme: light dark; }
body { font: 17px/1.5 system-ui, sans-serif; max-width: 900px; margin: 0 auto; padding: 24px 16px 80px; }
h1 { font-size: 1.5rem; margin: 0 0 8px; }
.own { position: sticky; top: 0; background: Canvas; padding: 10px 0; border-bottom: 1px solid #8886; z-index: 1; }
.own img { height: 120px; width: auto; border-radius: 6px; margin-right: 8px; }
fieldset { border: 0; border-bottom: 1px solid #8884; padding: 22px 0; margin: 0; }
fieldset { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; }
legend { font-weight: 600; padding: 22px 0 0; }
figure { margin: 0; } figure img { width: 100%; height: auto; border-radius: 8px; display: block; }
label { display: block; margin-top: 8px; } select, button { font: inherit; padding: 5px 10px; }
footer { position: sticky; bottom: 0; background: Canvas; padding: 12px 0; }
@media print { .own, footer { position: static; } fieldset { break-inside: avoid; } }
"""


def write_vote_page(deck: Deck, name: str, path: Path) -> Path:
    """Write the page in one piece and return its path."""
    write_text(path, vote_page(deck, name))
    return path


def vote_page(deck: Deck, name: str) -> str:
    """The whole page as text."""
    thumbs = Thumbs(SIDE_PX)
    allowed = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}';"
        " base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        raw('<meta charset="utf-8"/>'),
        raw('<meta name="viewport" content="width=device-width, initial-scale=1"/>'),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("title", f"{name}: how much is it {name}?"),
        tag("style", raw(STYLE)),
    )
    words = (
        f"At the top are pictures of {name}. Give each render a mark: 0 is a stranger, 10 is {name} as in the"
        " pictures, 8 is good enough to be used. Judge the person, not the picture. Some pairs come twice."
    )
    own = [_image(path, thumbs, False) for path in deck.references]
    form = tag(
        "form",
        *(_pair(deck, i, thumbs) for i in range(len(deck.pairs))),
        tag("footer", tag("button", "Save votes.json", type="submit"), " ", tag("output")),
        data_deck=deck.digest,
        data_pairs=len(deck.pairs),
    )
    body = tag(
        "body",
        tag("h1", f"How much is it {name}?"),
        tag("p", words),
        tag("div", *own, class_="own"),
        form,
        tag("script", raw(SCRIPT)),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en")


def _pair(deck: Deck, position: int, thumbs: Thumbs) -> Html:
    pair = deck.pairs[position]
    sides = [
        tag(
            "figure",
            _image(deck.paths[content], thumbs, True),
            tag("label", f"{side}, 0 to 10: ", _select(f"{side}{position}")),
        )
        for side, content in (("left", pair.left), ("right", pair.right))
    ]
    return tag("fieldset", tag("legend", f"Pair {position + 1}"), *sides)


def _select(name: str) -> Html:
    marks = [tag("option", str(mark), value=str(mark)) for mark in range(11)]
    return tag("select", tag("option", "–", value=""), *marks, name=name)


def _image(path: Path, thumbs: Thumbs, generated: bool) -> Html:
    made = thumbs.uri(path, generated=generated)
    if made is None:
        return join((tag("span", "picture is gone"),))
    uri, width, height = made
    return tag(
        "img", src=uri, width=width, height=height, alt="render" if generated else "reference"
    )
