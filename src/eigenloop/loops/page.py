"""A diagnosis as one self-contained page, with its tables as CSV files and all of it as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eigenloop import report
from eigenloop.loops import drawing
from eigenloop.loops.diagnosis import Diagnosis
from eigenloop.loops.forecast import linear_distances
from eigenloop.loops.starts import Slice
from eigenloop.loops.tables import loops_rows, mode_rows, orbit_rows
from eigenloop.report import Cell, Column, Missing
from eigenloop.system.directories import OutputDirectory
from eigenloop.system.errors import InputError
from eigenloop.system.files import atomic_write, save_table

TITLE = "Loops"
PAGE = "report.html"
FILES = {"loops": "loops.csv", "orbit": "orbit.csv", "modes": "modes.csv", "json": "loops.json"}

NOT_CLAIMED = (
    "One start was followed, unless others are listed: another may go elsewhere.",
    (
        "Eigenvalues hold at the fixed point named here and say nothing of other points; errors are"
        " first order."
    ),
    (
        "A forecast is linear: it begins at the first state whose measured remainder costs less"
        " than a loop, and knows nothing of loops before that."
    ),
    (
        "That a loop contracts does not make its output better; only a readout tells which loops"
        " are useful."
    ),
)


def output_directory(path: Path) -> OutputDirectory:
    """Where `eigenloop loops` writes: until it has marked a directory, none that holds one of these
    names.

    Directories of earlier versions bear no mark; their page is recognised.
    """

    def refuse() -> None:
        foreign = [path / name for name in (PAGE, *FILES.values()) if (path / name).exists()]
        if foreign and not place.is_ours() and not _is_ours(path / PAGE):
            raise InputError(
                f"{foreign[0]} was not written by eigenloop loops; choose another --out"
            )

    place = OutputDirectory(path, "loops", (PAGE, *FILES.values()), refuse=refuse)
    return place


def _is_ours(page: Path) -> bool:
    try:
        return f"<title>{TITLE}" in page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def write_diagnosis(
    found: Diagnosis,
    directory: Path,
    *,
    command: str,
    said: Sequence[str] = (),
    plane: Slice | None = None,
    document: dict[str, Any] | None = None,
) -> dict[str, str]:
    """Write report.html, its tables and the JSON into a directory of their own.

    Args: as of `save_diagnosis`.

    Raises:
        InputError: as for `OutputDirectory.held`.
    """
    with output_directory(directory).held():
        return save_diagnosis(
            found, directory, command=command, said=said, plane=plane, document=document
        )


def save_diagnosis(
    found: Diagnosis,
    directory: Path,
    *,
    command: str,
    said: Sequence[str] = (),
    plane: Slice | None = None,
    document: dict[str, Any] | None = None,
) -> dict[str, str]:
    """The same into a directory that is held already; everything is made before the first file is
    written.

    Args:
        found: what to show.
        directory: where to; made where it is missing.
        command: what repeats it.
        said: sentences beside the verdict, such as how the exact answer compares.
        plane: ends of a slice of starts, where it was computed.
        document: the JSON; that of the diagnosis by default.

    Returns:
        Paths by name.
    """
    html = report.render(diagnosis_page(found, command=command, said=said, plane=plane)).encode()
    text = json.dumps(document or found.as_dict(), allow_nan=False, indent=1).encode()
    tables = {"loops": loops_rows(found), "orbit": orbit_rows(found), "modes": mode_rows(found)}
    for name, (header, rows) in tables.items():
        save_table(directory / FILES[name], header, rows)
    atomic_write(directory / FILES["json"], text)
    atomic_write(directory / PAGE, html)
    return {
        "report": str(directory / PAGE),
        **{name: str(directory / file) for name, file in FILES.items()},
    }


def diagnosis_page(
    found: Diagnosis, *, command: str, said: Sequence[str] = (), plane: Slice | None = None
) -> report.Page:
    """The page: the verdict in a sentence first, then loops, orbit, spectrum, norms, exponents,
    starts.

    Args:
        found: what to show.
        command: what repeats it.
        said: sentences beside the verdict.
        plane: ends of a slice of starts, where it was computed.
    """
    beside = [report.Section("In words", list(said))] if said else []
    sections = [*beside, _loops(found), _orbit(found), _modes(found)]
    sections += [
        section
        for section in (_norms(found), _exponents(found), _ends(found), _slice(plane))
        if section is not None
    ]
    sections.append(report.Section("What is not claimed", [*NOT_CLAIMED, *found.looped.notes]))
    facts: list[tuple[str, Cell]] = [
        ("verdict", str(found.verdict)),
        ("map", found.looped.name),
        ("numbers in a state", found.looped.size),
        ("loops", found.orbit.loops),
        ("loops run in all", found.orbit.total),
    ]
    return report.Page(
        title=f"{TITLE}: {found.looped.name}",
        lead=found.verdict.sentence,
        sections=sections,
        facts=facts,
        command=command,
        origin=report.Origin.here(None, ("eigenloop", "numpy", "scipy")),
    )


def _loops(found: Diagnosis) -> report.Section:
    """How many loops are worth running."""
    body: list[report.Item] = []
    if found.needed is None:
        body.append(
            report.Note(f"No loops lead to a tolerance: {found.reasons['loops_to']}.", "warn")
        )
    else:
        rows = [
            (
                need.tolerance,
                _cell(need.forecast, need.reasons.get("forecast")),
                _cell(need.taken, need.reasons.get("taken")),
                _cell(need.bound, need.reasons.get("bound")),
                _cell(left.loop, "no step is below it"),
                _cell(left.left, "no step is below it"),
            )
            for need, left in zip(found.needed, found.exits or (), strict=True)
        ]
        columns = (
            Column("distance, relative", format=".0e"),
            "forecast",
            "taken",
            "bound",
            "loop of the first step below it",
            Column("distance left there", format=".2g"),
        )
        body.append(
            report.Table(
                columns,
                rows,
                caption=(
                    "Loops to a distance from the fixed point, and what stopping "
                    "at a step of that size misses."
                ),
                downloads=[FILES["loops"]],
            )
        )
        early = [e for e in found.exits or () if e.left is not None and e.left > 2 * e.threshold]
        if early:
            worst = max(early, key=lambda e: (e.left or 0) / e.threshold)
            body.append(
                report.Note(
                    f"Stopping at the first step below {worst.threshold:g} ends at loop"
                    f" {worst.loop}, {worst.left:.2g} from the fixed point: a small step is not a"
                    " small distance.",
                    "warn",
                )
            )
    if found.readout is not None:
        light, dark = drawing.readouts(found.readout, str(found.reads))
        body += [
            useful(found),
            report.Figure(
                light, f"{found.reads}, by loop.", svg_dark=dark, downloads=[FILES["orbit"]]
            ),
        ]
    return report.Section("Loops worth running", body)


def useful(found: Diagnosis) -> str:
    """What the readout says of the loops, in a sentence; there must be one."""
    assert found.readout is not None
    read, best = found.readout, int(np.argmin(found.readout))
    return (
        f"{found.reads} is {read[0]:.4g} before the first loop, {read[-1]:.4g} after"
        f" {len(read) - 1}, and smallest, {read[best]:.4g}, after {best}."
    )


def _orbit(found: Diagnosis) -> report.Section:
    run, line = found.orbit, None
    distance = run.distances(found.point.point) if found.point.found else None
    region = found.region
    if region is not None and distance is not None and found.linear is not None:
        near = region.loop
        e = (run.states[near] - found.point.point) / run.scale
        line = near, linear_distances(found.linear, e, loops=len(distance) - near, stop=1e-300)
    light, dark = drawing.distances(distance, run.steps, line, scale_name="the state")
    point = found.point
    facts: list[tuple[str, Cell]] = [
        ("fixed point found by a solver", "yes" if point.found else f"no: {point.reason}"),
        ("reached by the loop", found.reached),
        ("residual", point.residual),
        ("estimated error", _cell(point.error, "not known")),
        ("first state in the linear region", _region(found)),
    ]
    if found.rate is not None:
        turn = f", angle {found.rate.angle:.6g} ± {found.rate.angle_error:.1g}"
        facts.append(
            ("measured factor per loop", f"{found.rate.modulus:.8g} ± {found.rate.error:.1g}{turn}")
        )
        facts.append(("|mu_1|", f"{found.modes[0].modulus:.8g}"))
    else:
        facts.append(
            ("measured factor per loop", Missing(found.reasons.get("rate", "not measured")))
        )
    figure = report.Figure(
        light,
        "Distance to the fixed point and step size by loop, logarithmic.",
        svg_dark=dark,
        caption="One mode leaves a straight line of slope log |mu_1|." if point.found else "",
        downloads=[FILES["orbit"]],
    )
    return report.Section("Orbit", [figure, report.Facts(facts)])


def _region(found: Diagnosis) -> Cell:
    """The loop, and the remainder that puts it there."""
    region = found.region
    if region is None:
        return Missing(found.reasons.get("linear_region", "not measured"))
    return (
        f"loop {region.loop}, {region.distance:.2g} from x*: what is not linear is"
        f" {region.remainder:.1e} of J h there, and up to {region.allowed:.1e} costs under a loop"
    )


def _modes(found: Diagnosis) -> report.Section:
    if not found.modes:
        return report.Section(
            "Spectrum at the fixed point", [report.Note(found.reasons["modes"], "warn")]
        )
    values = np.array([mode.value for mode in found.modes])
    errors = np.array([mode.error if mode.error is not None else np.nan for mode in found.modes])
    light, dark = drawing.plane(values, np.nan_to_num(errors, nan=0.0, posinf=0.0))
    rows = [
        (
            f"{m.value.real:.8g}" + (f" ± {m.value.imag:.8g}i" if m.value.imag else ""),
            m.modulus,
            m.kind,
            m.residual,
            _cell(
                m.condition if m.condition is not None and np.isfinite(m.condition) else None,
                "no condition",
            ),
            _cell(
                m.error if m.error is not None and np.isfinite(m.error) else None,
                "no first-order error",
            ),
        )
        for m in found.modes
    ]
    columns = (
        "eigenvalue",
        Column("modulus", format=".8g"),
        "kind",
        Column("residual", format=".1e"),
        Column("condition", format=".3g"),
        Column("error", format=".1e"),
    )
    spectrum = found.spectrum
    said = (
        ""
        if spectrum is None
        else f"{spectrum.method[0].upper()}{spectrum.method[1:]}. "
        + {
            None: "Whether a larger one was missed is not decided.",
            False: "No larger one was missed.",
            True: "A larger one was missed: the radius is too low.",
        }[spectrum.missed]
    )
    table = report.Table(
        columns,
        rows,
        caption="Leading eigenvalues, a conjugate pair once.",
        downloads=[FILES["modes"]],
    )
    figure = report.Figure(
        light, "Eigenvalues in the complex plane with the unit circle.", svg_dark=dark, caption=said
    )
    return report.Section("Spectrum at the fixed point", [figure, table])


def _norms(found: Diagnosis) -> report.Section | None:
    bounds = found.bracket
    if bounds is None or not bounds.norms:
        return None
    power, norm = (
        np.array([getattr(each, name) for each in bounds.norms], float)
        for name in ("power", "norm")
    )
    light, dark = drawing.powers(power, norm, found.modes[0].modulus)
    ends = [
        (
            f"{bounds.lower:.8g}"
            if bounds.lower is not None
            else f"no lower end ({bounds.reasons['lower']})"
        ),
        f"{bounds.upper:.8g}" if bounds.upper is not None else "no upper end",
    ]
    body: list[report.Item] = [
        (
            f"The spectral radius is between {ends[0]} and {ends[1]} (min of ||J^p||^(1/p), at p ="
            f" {bounds.power})."
        ),
        report.Figure(
            light, "Norms of the powers of J beside powers of the radius.", svg_dark=dark
        ),
        *(
            report.Note(f"{warning[0].upper()}{warning[1:]}.", "warn")
            for warning in bounds.warnings
        ),
    ]
    return report.Section("Bracket of the radius, and growth before decay", body)


def _exponents(found: Diagnosis) -> report.Section | None:
    seen = found.lyapunov
    if seen is None:
        return None
    light, dark = drawing.running(seen.running, seen.values, seen.errors)
    told = ", ".join(f"{v:.4g} ± {e:.1g}" for v, e in zip(seen.values, seen.errors, strict=True))
    figure = report.Figure(
        light,
        "Running means of the Lyapunov exponents.",
        svg_dark=dark,
        caption=f"Per loop, with standard errors of ten blocks: {told}.",
    )
    return report.Section("Lyapunov exponents", [figure])


def _ends(found: Diagnosis) -> report.Section | None:
    seen = found.ends
    if seen is None:
        return None
    light, dark = drawing.ends_map(seen.cosines)
    facts: list[tuple[str, Cell]] = [
        ("starts", len(seen.labels)),
        ("settled", seen.settled),
        ("different ends", len(seen.shares)),
        ("starts at each", ", ".join(map(str, seen.shares)) or "none"),
        ("mean cosine between ends", _cell(seen.alignment, "fewer than two ends")),
        ("the same up to sign", _cell(seen.alignment_up_to_sign, "fewer than two ends")),
    ]
    figure = report.Figure(light, "Cosines between the ends of all starts.", svg_dark=dark)
    return report.Section("Starts", [report.Facts(facts), figure])


def _slice(plane: Slice | None) -> report.Section | None:
    if plane is None:
        return None
    light, dark = drawing.slice_map(plane.labels, plane.first, plane.second)
    counts = ", ".join(map(str, plane.ends.shares)) or "none"
    figure = report.Figure(
        light,
        "Starts of a plane, coloured by their end.",
        svg_dark=dark,
        caption=(
            f"{plane.labels.size} starts s x_0 + t e, e a random direction;"
            f" ends: {len(plane.ends.shares)}, reached from {counts};"
            f" {plane.labels.size - plane.ends.settled} starts still moved."
        ),
    )
    return report.Section("A slice of starts", [figure])


def _cell(value: float | int | None, reason: str | None) -> Cell:
    return Missing(reason or "not known") if value is None else value
