"""The verdict as a person would say it: an answer, a headline, and the sentences below.

The words follow the numbers by rule, never the other way round: certified says yes, provisional
and undecided say undecided, everything else says no; no yardstick means no score, and the page says why.
"""

from __future__ import annotations

from collections.abc import Sequence

from vultus.reports.html import number, strength_text
from vultus.reports.records import Answer, ChosenView, VerdictWords, YardstickView
from vultus.store.census import Place

__all__ = ["no_score_verdict", "places_sentence", "run_limits", "run_verdict", "sentence"]


def run_verdict(chosen: ChosenView, name: str = "the persona") -> VerdictWords:
    """The verdict of a run whose chosen cell was measured on fresh prompts and seeds."""
    headlines: dict[str, tuple[Answer, str]] = {
        "certified": ("yes", f"This LoRA draws {name}."),
        "provisional": ("undecided", f"This LoRA probably draws {name}."),
        "undecided": ("undecided", f"It is open whether this LoRA draws {name}."),
        "refused": ("no", f"This LoRA does not draw {name} yet."),
    }
    answer, headline = headlines.get(
        chosen.gate_answer, ("undecided", f"{number(chosen.m10.value)} of 10.")
    )
    sentences = [_use(chosen), _interval(chosen)]
    if chosen.groups and len(chosen.groups) > 1:
        ranked = sorted(chosen.groups, key=lambda group: group.m10.value)
        weak, best = ranked[0], ranked[-1]
        told = f"Best at {best.name} ({number(best.m10.value)}), weakest at {weak.name} ({number(weak.m10.value)})"
        thin = [group for group in (best, weak) if not group.m10.telling]
        few = ", ".join(f"{group.n_renders} of {group.name}" for group in thin)
        sentences.append(f"{told}; too few renders to be sure: {few}." if thin else f"{told}.")
    if chosen.misses:
        sentences.append(
            f"{chosen.misses} of {chosen.n_renders} renders show no usable face; "
            "each counts as 0 points."
        )
    sentences.extend(sentence(reason) for reason in chosen.gate_reasons)
    return VerdictWords(answer, headline, tuple(words for words in sentences if words))


def no_score_verdict(yardsticks: Sequence[YardstickView]) -> VerdictWords:
    """The verdict when no yardstick can carry a score: what is missing, in words."""
    reasons = list(dict.fromkeys(view.refused for view in yardsticks if view.refused))
    return VerdictWords(
        "undecided",
        "No score can be given.",
        (
            *reasons,
            "The pictures and their cosines are below; a cosine alone says little, because it means "
            "something else for every face pack and every person.",
        ),
    )


def run_limits(n_runs: int, n_prompts: int, n_references: int) -> tuple[str, ...]:
    """What a run of this size cannot say, for the small print."""
    runs = "one training run" if n_runs == 1 else f"{n_runs} training runs"
    return (
        f"It rests on {runs}: it speaks about these weights, not about the settings that made them.",
        f"{n_prompts} prompts stand for all that you will ever ask for, and {n_references} "
        "references for the person; the interval knows both.",
        "m10 is likeness in the eyes of one face recogniser. Nobody has shown that its 8 is your 8: "
        "look at the pictures.",
        "A score near 10 with the same pose and background in every picture is copying, not likeness.",
    )


def places_sentence(places: Sequence[Place]) -> str:
    """What is compared across environments, said plainly; nothing where all work was done in one."""
    if len(places) < 2:
        return ""
    done = [
        f"{place.digest[:8]} ({', '.join(f'{n} {kind}' for kind, n in place.steps.items())})"
        for place in places
    ]
    names = sorted({name for place in places for name in place.environment})
    differ = [name for name in names if len({str(one.environment.get(name)) for one in places}) > 1]
    return (
        f"The work was done in {len(places)} environments, {'; '.join(done)}, that differ in "
        f"{', '.join(differ)}: what is compared here is compared across them."
    )


def _use(chosen: ChosenView) -> str:
    words = f"strength {strength_text(chosen.strength)} on {chosen.base}"
    file = chosen.file_name or f"the checkpoint of step {chosen.checkpoint}"
    trigger = f" and write \N{LEFT DOUBLE QUOTATION MARK}{chosen.trigger}\N{RIGHT DOUBLE QUOTATION MARK} in the prompt"
    return f"Use {file} at {words}{trigger if chosen.trigger else ''}."


def _interval(chosen: ChosenView) -> str:
    if not chosen.m10.telling:
        return f"{chosen.n_renders} fresh renders are too few for an interval."
    low, high = number(chosen.m10.low), number(chosen.m10.high)
    told = (
        f"{chosen.n_renders} fresh renders that chose nothing put it between {low} and {high} "
        f"({chosen.m10.confidence:.0%} interval)"
    )
    if chosen.screening is not None and chosen.screening.value - chosen.m10.value >= 0.2:
        told += (
            f"; in the sweep it had {number(chosen.screening.value)}, as winners do, "
            "and the fresh figure counts"
        )
    return told + "."


def sentence(words: str) -> str:
    """The words as a sentence; m10 is a name and keeps its small letter."""
    text = words if words.startswith("m10") else words[:1].upper() + words[1:]
    return text if text.endswith(".") else text + "."
