"""The tables of a diagnosis: header and rows of loops.csv, orbit.csv and modes.csv."""

from eigenloop.loops.diagnosis import Diagnosis


def loops_rows(found: Diagnosis) -> tuple[tuple[str, ...], list[tuple]]:
    """Header and rows of loops.csv: one for each tolerance."""
    header = (
        "tolerance",
        "forecast",
        "taken",
        "bound",
        "exit_loop",
        "exit_step",
        "exit_left",
        "exit_predicted",
    )
    pairs = zip(found.needed or (), found.exits or (), strict=True)
    return header, [
        (n.tolerance, n.forecast, n.taken, n.bound, e.loop, e.step, e.left, e.predicted)
        for n, e in pairs
    ]


def orbit_rows(found: Diagnosis) -> tuple[tuple[str, ...], list[tuple]]:
    """Header and rows of orbit.csv: one for each loop."""
    run = found.orbit
    steps = [None, *map(float, run.steps)]
    distance = (
        found.orbit.distances(found.point.point).tolist()
        if found.point.found
        else [None] * len(steps)
    )
    readout = [] if found.readout is None else found.readout.tolist()
    readout += [None] * (len(steps) - len(readout))
    rows = [
        (k, steps[k], distance[k], float(run.norms[k]), readout[k]) for k in range(len(run.states))
    ]
    return ("loop", "step", "distance", "norm", "readout"), rows


def mode_rows(found: Diagnosis) -> tuple[tuple[str, ...], list[tuple]]:
    """Header and rows of modes.csv."""
    header = (
        "re",
        "im",
        "modulus",
        "kind",
        "multiplicity",
        "residual",
        "condition",
        "error",
        "defective",
    )
    rows = []
    for mode in found.modes:
        plain = mode.as_dict()
        rows.append((*plain["value"], *(plain[name] for name in header[2:])))
    return header, rows
