"""Tells a scored folder in the same kind of report as a run: verdict, pictures, scale, small print.

What cannot be said is said first: without impostors or with too few references there is no m10, and
the page shows cosines beside the references' own instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vultus.reports.html import number
from vultus.reports.records import (
    Answer,
    ChosenView,
    Fact,
    GuardView,
    PictureView,
    RunReport,
    Timing,
    VerdictWords,
    YardstickView,
)
from vultus.reports.words import sentence
from vultus.scoring.folder import FolderScore, ReadPicture
from vultus.scoring.gate import judge
from vultus.scoring.records import GateSpec, GateVerdict

__all__ = ["MOST_PICTURES", "folder_report"]

MOST_PICTURES = 240
"""Thumbnails on one page; with more, the page would be too large to send."""


def folder_report(
    found: FolderScore,
    *,
    references: str,
    pictures: str,
    gate: GateSpec,
    created: str = "",
    timings: Sequence[Timing] = (),
    environment: Mapping[str, str] | None = None,
) -> RunReport:
    """The record of a scored folder; `references` and `pictures` are the folders' names."""
    verdict = None if found.score is None else judge(gate, found.score, found.guards)
    shown = [_view(picture) for picture in found.pictures[:MOST_PICTURES]]
    return RunReport(
        title=f"{pictures} against {references}",
        subtitle=f"face pack {found.pack_name}",
        created=created,
        verdict=_verdict(found, verdict),
        chosen=None if verdict is None else _chosen(found, verdict, pictures, gate),
        yardsticks=(_scale(found),),
        references=tuple(_view(picture) for picture in found.references[:MOST_PICTURES]),
        pictures=tuple(shown),
        timings=tuple(timings),
        facts=(
            Fact("face pack", f"{found.pack_name} ({found.pack_licence})"),
            Fact("pack digest", found.pack_digest),
        ),
        environment=environment or {},
        limits=_limits(found),
        guards=tuple(
            GuardView(one.name, one.kept, one.words, one.measured, one.measured)
            for one in found.guards
        ),
    )


def _verdict(found: FolderScore, gate: GateVerdict | None) -> VerdictWords:
    if gate is None or found.score is None:
        return VerdictWords("undecided", "No score from 0 to 10.", _unscored(found))
    answers: dict[str, tuple[Answer, str]] = {
        "certified": ("yes", "The pictures show the person of the references."),
        "provisional": ("undecided", "The pictures probably show the person of the references."),
        "undecided": (
            "undecided",
            "It is open whether the pictures show the person of the references.",
        ),
        "refused": ("no", "The pictures do not match the references well enough."),
    }
    answer, headline = answers[gate.answer]
    score = found.score
    between = f", between {number(score.m10.low)} and {number(score.m10.high)}"
    sentences = [
        f"{len(found.pictures)} pictures score {number(score.m10.value)} of 10"
        f"{between if score.m10.bounded else ''}.",
        *_missing(found),
        *(sentence(reason) for reason in gate.reasons),
    ]
    return VerdictWords(answer, headline, tuple(sentences))


def _unscored(found: FolderScore) -> tuple[str, ...]:
    said = [sentence(reason) for reason in found.refused]
    if found.cosine is not None and found.share is not None and found.yardstick is not None:
        own = number(found.yardstick.genuine_mean, 2)
        strangers = _cosines(found.impostors)
        known = (
            f"the impostors' mean is {number(sum(strangers) / len(strangers), 2)}"
            if strangers
            else "how close a stranger comes is not known"
        )
        said.append(
            f"What can be said: the mean cosine is {number(found.cosine.value, 2)}, and the "
            f"references reach {own} among themselves. That is {_percent(found.share.value)} of "
            f"their own closeness; {known}. This is no verdict."
        )
    elif found.cosine is None:
        said.append("No picture shows a face that could be compared.")
    return (*said, *_missing(found))


def _percent(share: float) -> str:
    return f"{number(share * 100, 0)} %"


def _missing(found: FolderScore) -> tuple[str, ...]:
    said = []
    if found.odd:
        names = ", ".join(one.path.name for one in found.odd[:4])
        more = f" and {len(found.odd) - 4} more" if len(found.odd) > 4 else ""
        said.append(
            f"{len(found.odd)} of {len(found.references)} references look like somebody else and make 10 too easy: "
            f"take out {names}{more}."
        )
    if found.misses:
        counted = "; each counts as 0 points" if found.score is not None else ""
        lacking = f"{found.misses} of {len(found.pictures)} pictures show no usable face"
        said.append(f"{lacking}{counted}.")
    return tuple(said)


def _chosen(
    found: FolderScore, verdict: GateVerdict, pictures: str, gate: GateSpec
) -> ChosenView | None:
    if found.score is None:
        return None
    return ChosenView(
        base=pictures,
        checkpoint=0,
        strength=0.0,
        m10=found.score.m10,
        yield_share=found.score.yield_share,
        misses=found.score.misses,
        n_renders=found.score.n_renders,
        cosine_mean=found.score.cosine_mean,
        llr10_mean=found.score.llr10_mean,
        gate_answer=verdict.answer,
        gate_bar=gate.m10,
        gate_reasons=verdict.reasons,
    )


def _scale(found: FolderScore) -> YardstickView:
    yardstick = found.yardstick
    sound = found.score is not None and yardstick is not None
    return YardstickView(
        label="Cosines under this face pack",
        references=_cosines(found.references),
        impostors=_cosines(found.impostors),
        renders=_cosines(found.pictures),
        cllr=yardstick.calibration.cllr if sound and yardstick else None,
        cllr_min=yardstick.calibration.cllr_min if sound and yardstick else None,
        digest=yardstick.digest if sound and yardstick else "",
        pack=found.pack_name,
        renders_are="pictures",
        impostors_are="impostors, as given",
        refused="" if sound else "No m10: " + "; ".join(found.refused) + ".",
    )


def _cosines(pictures: Sequence[ReadPicture]) -> tuple[float, ...]:
    return tuple(picture.cosine for picture in pictures if picture.cosine is not None)


def _view(picture: ReadPicture) -> PictureView:
    return PictureView(
        picture.path,
        name=picture.path.name,
        note=picture.path.name,
        cosine=picture.cosine,
        points=picture.points,
        state=picture.state,
    )


def _limits(found: FolderScore) -> tuple[str, ...]:
    said = [
        "A cosine means something only under one face pack; the figures of two packs cannot be "
        "compared.",
        "Every picture counts as independent. Pictures of one prompt or one photo session are "
        "not, and then the interval is too narrow.",
    ]
    if found.score is not None:
        said.append(
            "0 is the mean of the impostors that were given. If they are strangers of another "
            "kind than the pictures (other age, other style), the score flatters."
        )
    if found.faults:
        names = ", ".join(fault.path.name for fault in found.faults[:8])
        more = ", and more" if len(found.faults) > 8 else ""
        said.append(f"{len(found.faults)} files could not be read: {names}{more}.")
    if len(found.pictures) > MOST_PICTURES:
        said.append(f"The first {MOST_PICTURES} of {len(found.pictures)} pictures are shown.")
    return tuple(said)
