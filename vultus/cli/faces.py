"""`vultus faces`: what a face pack sees, how alike faces are, how well it tells people apart."""

from __future__ import annotations

import argparse
import sys
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.cli.wording import EXIT_DONE, EXIT_NO, Nouns, detachable, noun, say, verb

if TYPE_CHECKING:
    from vultus.faces.reading import Reading
    from vultus.faces.records import FaceEngine, FaceResult
    from vultus.images.records import PictureFault

__all__ = ["add"]

MOST_THREADS = 64
"""Each one opens the nets of its own."""


def add(subparsers: Nouns) -> None:
    """Add `vultus faces` and its verbs."""
    parser = noun(
        subparsers,
        "faces",
        help="look at what a face pack sees: faces, poses, likeness, error rates",
        examples=[
            "vultus faces inspect ada/pictures",
            "vultus faces compare ada/references renders",
            "vultus faces verify people/",
            "vultus faces reference ada.jpg",
        ],
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    one = verb(
        verbs,
        "inspect",
        help="say what is seen in each picture and draw it: boxes, points, pose, state",
        examples=["vultus faces inspect a.jpg b.jpg --out seen/"],
    )
    one.add_argument("pictures", type=Path, nargs="+", help="pictures, or folders of them")
    _add_common(one, "where the drawn pictures go")
    one.set_defaults(handle=_inspect)
    two = verb(
        verbs,
        "compare",
        help="cosines between two pictures, or between the pictures of two folders",
        examples=[
            "vultus faces compare a.jpg b.jpg",
            "vultus faces compare ada/references renders",
        ],
    )
    two.add_argument("a", type=Path, help="a picture, or a folder of one person (the references)")
    two.add_argument("b", type=Path, help="a picture, or a folder of pictures to compare with it")
    two.add_argument(
        "--second", help="another pack to run beside the first; tells where they differ"
    )
    _add_common(two, None)
    two.set_defaults(handle=_compare)
    _add_rates(verbs)


def _add_rates(verbs: Nouns) -> None:
    three = verb(
        verbs,
        "verify",
        help="error rates of a pack: EER, TAR at FMR, d', tables and SVG charts",
        examples=["vultus faces verify people/", "vultus faces verify pairs.csv --out seen/"],
    )
    three.add_argument(
        "source",
        type=Path,
        help="a folder with one folder per person, or a CSV of first,second,same (yes or no)",
    )
    _add_common(three, "where tables and charts go")
    detachable(three, card=False)
    three.set_defaults(handle=_verify)
    four = verb(
        verbs,
        "reference",
        help="check a picture as an InstantID reference, and cut it with room around the face",
        examples=["vultus faces reference ada.jpg --out references/"],
    )
    four.add_argument("pictures", type=Path, nargs="+", help="pictures, or folders of them")
    _add_common(four, "where the cut references go")
    four.set_defaults(handle=_reference)


def _add_common(parser: argparse.ArgumentParser, out: str | None) -> None:
    parser.add_argument("--pack", default="free", help="face pack: a name or a folder")
    parser.add_argument(
        "--threads", type=int, default=1, help="how many pictures are read side by side, 1 to 64"
    )
    if out is not None:
        parser.add_argument("--out", type=Path, default=Path("vultus-faces"), help=out)


def _refuse_odd(args: argparse.Namespace) -> None:
    """Raise before any work what would be told after it: threads out of range, an --out that is a file."""
    from vultus.core.errors import DiskError, SpecError

    if not 1 <= args.threads <= MOST_THREADS:
        raise SpecError([f"--threads {args.threads} is outside 1..{MOST_THREADS}"])
    out = getattr(args, "out", None)
    if out is not None and out.exists() and not out.is_dir():
        raise DiskError(
            "this is a file, not a folder",
            where=str(out),
            expected="a folder, new or there already",
            next_command="choose another folder with --out",
        )


def _engine(args: argparse.Namespace, pictures: int, pack: str | None = None) -> FaceEngine:
    from vultus.faces.engines import open_engine
    from vultus.faces.packs import find_pack

    found = find_pack(pack or args.pack)
    print(f"face pack {found.name}: {found.licence}", file=sys.stderr)
    return open_engine(found, threads=max(1, min(args.threads, pictures)))


def _read(
    args: argparse.Namespace, engine: FaceEngine, paths: list[Path]
) -> tuple[list[Reading], list[PictureFault]]:
    from vultus.core.progress import Progress
    from vultus.faces.reading import Reading, read_files

    seen: list[Reading] = []
    faults: list[PictureFault] = []
    with Progress(len(paths), "reading faces", "pictures", quiet=args.json) as progress:
        for one in read_files(engine, paths, progress.advance):
            if isinstance(one, Reading):
                seen.append(one)
            else:
                faults.append(one)
    return seen, faults


def _inspect(args: argparse.Namespace) -> int:
    from vultus.faces.draw import draw_result
    from vultus.faces.reading import pictures_of
    from vultus.images.write import save_png

    _refuse_odd(args)
    paths = pictures_of(args.pictures)
    seen, faults = _read(args, _engine(args, len(paths)), paths)
    names = _names([one.picture.path for one in seen])
    rows, lines = [], []
    for one, name in zip(seen, names, strict=True):
        drawn = args.out / f"{name}.png"
        save_png(drawn, draw_result(one.picture.rgb, one.result), xmp_ai=False)
        rows.append({**_row(one), "drawn": str(drawn)})
        lines.append(_line(one))
    lines += [_fault_line(fault) for fault in faults]
    ok = sum(one.result.state == "ok" for one in seen)
    lines.append(f"{ok} of {len(paths)} pictures show one clear face; drawn in {args.out}")
    _say(args, {"pictures": rows, "unreadable": _told(faults)}, lines)
    return EXIT_DONE if ok == len(paths) else EXIT_NO


def _compare(args: argparse.Namespace) -> int:
    from vultus.faces.comparing import compare
    from vultus.faces.reading import pictures_of

    _refuse_odd(args)
    one, two = pictures_of([args.a]), pictures_of([args.b])
    engine = _engine(args, max(len(one), len(two)))
    a, faults = _read(args, engine, one)
    b, more = _read(args, engine, two)
    seen, faults = [*a, *b], [*faults, *more]
    told = compare(a, b, engine.pack)
    lines, record = told.lines(), told.record()
    if args.second is not None:
        from vultus.faces.beside import disagreement

        paths = [one.picture.path for one in seen]
        other, _ = _read(args, _engine(args, len(paths), args.second), paths)
        found = disagreement([o.result for o in seen], [o.result for o in other])
        record["disagreement"] = _gaps(found, paths, lines)
    lines += [_fault_line(fault) for fault in faults]
    _say(args, {**record, "unreadable": _told(faults)}, lines)
    return EXIT_DONE


def _verify(args: argparse.Namespace) -> int:
    from vultus.faces.trials import read_trials, write_tables

    _refuse_odd(args)
    trials = read_trials(args.source)
    engine = _engine(args, len(trials.paths))
    seen, faults = _read(args, engine, trials.paths)
    found = trials.run({one.picture.path: one.result for one in seen})
    files = write_tables(args.out, found, engine.pack)
    lines = [
        *found.lines(engine.pack),
        *(f"{fault.path}: {fault.reason}" for fault in faults),
        *(f"wrote {path}" for path in files),
    ]
    record = {**found.record(engine.pack), "unreadable": _told(faults)}
    _say(args, {**record, "files": [str(path) for path in files]}, lines)
    return EXIT_DONE


def _reference(args: argparse.Namespace) -> int:
    from vultus.faces.reading import pictures_of
    from vultus.faces.reference import lint_reference, make_reference
    from vultus.images.write import save_png

    _refuse_odd(args)
    paths = pictures_of(args.pictures)
    seen, faults = _read(args, _engine(args, len(paths)), paths)
    rows, lines = [], []
    bad = len(faults)
    for one, name in zip(seen, _names([o.picture.path for o in seen]), strict=True):
        found = lint_reference(one.picture.rgb, one.result)
        bad += any(lint.level == "fault" for lint in found)
        row: dict[str, Any] = {"file": str(one.picture.path)}
        row["findings"] = [{"name": f.name, "level": f.level, "told": f.line()} for f in found]
        lines.append(f"{one.picture.path}: {'nothing speaks against it' if not found else ''}")
        lines += [f"  {lint.line()}" for lint in found]
        if one.result.face is not None:
            crop = make_reference(one.picture.rgb, one.result)
            path = args.out / f"{name}.png"
            save_png(path, crop.rgb, xmp_ai=False)
            row |= {"cut": str(path), "box_px": crop.box_px, "padded_share": crop.padded_share}
            padded = f", {100 * crop.padded_share:.0f} % padded" if crop.padded_share else ""
            lines.append(f"  cut: {path} ({crop.size[0]} x {crop.size[1]} px{padded})")
        rows.append(row)
    lines += [_fault_line(fault) for fault in faults]
    lines.append(
        "Give a separate pose picture: pose, depth and edge networks copy glasses and hats from it."
    )
    _say(args, {"references": rows, "unreadable": _told(faults)}, lines)
    return EXIT_NO if bad else EXIT_DONE


def _say(args: argparse.Namespace, record: dict[str, Any], lines: list[str]) -> None:
    """Tell the outcome; a file's name may hold line ends, and each line is one."""
    from vultus.images.load import printable

    say(args, record, [printable(line) for line in lines])


def _names(paths: list[Path]) -> list[str]:
    """File names for results, distinct even where two folders hold the same name."""
    names: list[str] = []
    for path in paths:
        stem = "".join(c if c.isprintable() else "_" for c in path.stem)
        tries = chain([stem], (f"{stem}-{n}" for n in count(2)))
        names.append(next(name for name in tries if name not in names))
    return names


def _line(one: Reading) -> str:
    result, face = one.result, one.result.face
    if face is None:
        return f"{one.picture.path}: none, nobody is found"
    words = [
        f"{result.state}",
        f"{len(result.faces)} face{'s' if len(result.faces) > 1 else ''}",
        f"size {face.size_px:.0f} px",
        f"detector {face.score:.2f}",
        f"landmark spread {100 * result.landmark_spread_px / face.size_px:.1f} % of the face",
        f"sharpness {result.sharpness:.2f}",
    ]
    if result.pose is not None:
        p = result.pose
        angles = f"yaw {p.yaw_deg:+.0f}, pitch {p.pitch_deg:+.0f}, roll {p.roll_deg:+.0f} degrees"
        words.append(angles if p.by == "nets" else f"{angles} (from five points)")
    if result.quality is not None:
        words.append(f"quality {result.quality:.2f}")
    return f"{one.picture.path}: {', '.join(words)}"


def _fault_line(fault: PictureFault) -> str:
    return f"{fault.path}: {fault.reason}; next: {fault.next_command}"


def _row(one: Reading) -> dict[str, Any]:
    result: FaceResult = one.result
    pose = result.pose
    return {
        "file": str(one.picture.path),
        "content_id": one.picture.content_id,
        "state": result.state,
        "chosen": result.chosen,
        "faces": [
            {
                "box_px": [round(v, 2) for v in face.box_px],
                "points_px": [[round(float(v), 2) for v in point] for point in face.points_px],
                "score": face.score,
                "size_px": face.size_px,
            }
            for face in result.faces
        ],
        "landmark_spread_px": result.landmark_spread_px,
        "sharpness": result.sharpness,
        "quality": result.quality,
        "pose": None if pose is None else vars(pose),
        "notes": list(one.picture.notes),
        "pack_digest": result.pack_digest,
    }


def _told(faults: list[PictureFault]) -> list[dict[str, str]]:
    return [{"file": str(fault.path), "reason": fault.reason} for fault in faults]


def _gaps(found: Any, paths: list[Path], lines: list[str]) -> dict[str, Any]:
    lines.append(
        f"second pack: {found.pairs} pairs, correlation {found.pearson:.3f}, of ranks "
        f"{found.spearman:.3f}; {found.unread} pictures unread by one of the two"
    )
    rows = []
    for gap in found.worst:
        pair = f"{paths[gap.first].name} - {paths[gap.second].name}"
        if abs(gap.gap) >= 2:
            lines.append(f"  they disagree by {gap.gap:+.1f} widths on {pair}")
        rows.append({"pair": pair, "first": gap.cosine_a, "second": gap.cosine_b, "gap": gap.gap})
    return {"pearson": found.pearson, "spearman": found.spearman, "worst": rows}
