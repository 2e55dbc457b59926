"""What the text of arXiv 2606.00605 says of its Figures 1 to 8, judged on small runs of our own as
their pages are.

Each claim calls the function of `eigenloop.figures.sentences` that gives the figure's verdict on
the page. The paper's learning rate, batch size, seeds and numbers of loops are missing from our
copy, so every statement names ours.
"""

from fractions import Fraction

from eigenloop.claims import Curve, Effort, Finding, Ledger, Plot
from eigenloop.figures import error_curves, figure2, figure3, figure5, figure8, sentences
from eigenloop.figures import quotations as q
from eigenloop.figures.claims import cells
from eigenloop.figures.fixed_points import TARGETS, weight_rows
from eigenloop.figures.growth import growth_rows
from eigenloop.figures.levels import levels
from eigenloop.figures.points import held_out, spectrum_points
from eigenloop.figures.settings import PAPER_WINDOW, Task
from eigenloop.figures.values import Row
from eigenloop.lab.checkpoints import Trained

ledger = Ledger("arXiv 2606.00605")

RUN = (
    "Task 1, d = 16, n = 32, SGD at learning rate 0.1 on batches of 128 out of 10,000 samples, one"
    " seed"
)
LOOPED = f"ten loops, end to end, 30,000 steps; {RUN}"
SINGLE = f"one layer with LN, 156,000 steps; {RUN}"


# --- Figures 1 and 4


@ledger.claim(
    "fig1ab.structure",
    "Fig. 1(a), (b): after training only the diagonals of V_21 and W_12 stand out of the heat maps"
    f" ({LOOPED}).",
    place="Fig. 1(a), (b)",
    provenance="stated",
    quote=q.STRUCTURE.quote,
    shared_run="looped",
)
def structure(effort: Effort) -> Finding:
    run, free = cells.looped(effort.seed), cells.free(effort)
    found = sentences.structure(
        growth_rows(run, "Task 1", exponent=Fraction(1, 4)), steps=_end(run)
    )
    inactive = float(free.metrics["inactive_max"].max())
    finding = cells.judged(
        found,
        run,
        **{
            "largest entry of the six other blocks, all eight free": inactive,
            "steps with all eight free": _end(free),
        },
    )
    # exactly 0 by theory, so the run above, which has no such blocks, would be another model
    if inactive > 0:
        return Finding(
            "fails", inactive, 0.0, 0.0, "exact zeros", "the other blocks move", finding.numbers
        )
    return finding


@ledger.claim(
    "fig1c.scaling",
    "Fig. 1(c): over the last decade ||W||_max and ||V||_max grow as Theorem 4.1 lets them over"
    " these steps, like t^(1/4) in the end, and not as Theorem 4.3 would, like t^(1/6)"
    f" ({LOOPED}).",
    place="Fig. 1(c)",
    provenance="stated",
    quote=q.SCALING.quote,
    shared_run="looped",
)
def scaling(effort: Effort) -> Finding:
    run = cells.looped(effort.seed)
    return _grown(
        run, sentences.growth(growth_rows(run, "Task 1", exponent=Fraction(1, 4)), steps=_end(run))
    )


@ledger.claim(
    "fig4.structure",
    "Fig. 4: the diagonals of V_21 and W_12 stand out, and every other entry is below a tenth of"
    f" them ({SINGLE}).",
    place="Fig. 4",
    provenance="stated",
    quote=q.SPARSE.quote,
    shared_run="layerwise",
)
def sparse(effort: Effort) -> Finding:
    run = cells.layerwise(effort.seed)
    rows = growth_rows(run, "Task 1", exponent=Fraction(1, 6))
    return cells.judged(sentences.structure(rows, steps=_end(run), sentence=q.SPARSE), run)


@ledger.claim(
    "fig4.slope",
    "Fig. 4: over the last decade ||W||_max and ||V||_max grow as Theorem 4.3 lets them over these"
    f" steps, like t^(1/6) in the end, and not as Theorem 4.1 would, like t^(1/4) ({SINGLE}).",
    place="Fig. 4",
    provenance="stated",
    quote=q.SLOPE.quote,
    shared_run="layerwise",
)
def slope(effort: Effort) -> Finding:
    run = cells.layerwise(effort.seed)
    rows = growth_rows(run, "Task 1", exponent=Fraction(1, 6))
    return _grown(run, sentences.growth(rows, steps=_end(run), sentence=q.SLOPE))


# --- Figures 2 and 3


@ledger.claim(
    "fig2.losses",
    "Fig. 2: within 2,000 iterations the losses with LN come nearer to zero than to either plateau,"
    " and both training losses without LN are level (Task 1, batches of 128, the learning rates"
    " 0.031, 0.03 and 0.02 that fit Fig. 2(b)).",
    place="Fig. 2",
    provenance="stated",
    quote=q.LOSSES.quote,
    shared_run="three models",
)
def losses(effort: Effort) -> Finding:
    own = cells.three_models(effort.seed)
    rows = figure2.loss_rows("Task 1", own, levels(own["ln"].config))
    return cells.judged(sentences.losses(rows, steps=PAPER_WINDOW), own["ln"])


@ledger.claim(
    "fig2.separation",
    "Fig. 2: looped at test time from one fixed point, the angle with LN lies below both others at"
    " every one of 25 loops (Task 1, batches of 128, 2,000 iterations at the learning rates 0.031,"
    " 0.03 and 0.02).",
    place="Fig. 2",
    provenance="stated",
    quote=q.SEPARATION.quote,
    shared_run="three models",
)
def separation(effort: Effort) -> Finding:
    own = cells.three_models(effort.seed)
    return cells.judged(
        sentences.separation(figure2.loop_rows("Task 1", own), steps=PAPER_WINDOW), own["ln"]
    )


@ledger.claim(
    "fig3.gap",
    "Fig. 3: both losses of one layer with LN fall for every size, and are never farther apart than"
    " 1 % of their axis ((d, n) = (8, 16) and (16, 32); learning rate 0.1, batches of 128 out of"
    " 10,000 samples, 2,000 test samples).",
    place="Fig. 3",
    provenance="stated",
    quote=q.GAP.quote,
)
def gap(effort: Effort) -> Finding:
    steps, rows, run = effort.pick(5_000, 30_000), [], None
    for dim, samples in ((8, 16), (16, 32)):
        run = cells.of_size(effort.seed, dim, samples, steps)
        rows += figure3.loss_rows(run, f"d = {dim}, n = {samples}")
    assert run is not None
    return cells.judged(sentences.no_gap(rows, steps=steps), run)


# --- Figures 5 and 8


@ledger.claim(
    "fig5.straight",
    "Fig. 5: the log error of every snapshot, looped 25 times from one fixed point, as often as in"
    f" Fig. 2(c), is a nearly straight line ({SINGLE}).",
    place="Fig. 5",
    provenance="stated",
    quote=q.STRAIGHT.quote,
    shared_run="layerwise",
)
def straight(effort: Effort) -> Finding:
    run, rows = _looped_at_test_time(effort)
    return cells.judged(error_curves.straight(rows, steps=_end(run)), run)


@ledger.claim(
    "fig5.bent",
    "Fig. 5: over 50 loops the log error of some snapshot is no straight line but bends to a"
    f" plateau ({SINGLE}).",
    place="cf. Fig. 5",
    provenance="ours",
    shared_run="layerwise",
)
def bent(effort: Effort) -> Finding:
    run, rows = _looped_at_test_time(effort)
    return cells.judged(error_curves.bent(rows, steps=_end(run)), run)


@ledger.claim(
    "fig5.longer",
    "Fig. 5: each later snapshot's curve is closer to the power method's (step 100, 1,000, 10,000,"
    f" end; {SINGLE}).",
    place="Fig. 5",
    provenance="stated",
    quote=q.LONGER.quote,
    shared_run="layerwise",
)
def longer(effort: Effort) -> Finding:
    run, rows = _looped_at_test_time(effort)
    return cells.judged(error_curves.longer(rows, steps=_end(run)), run)


@ledger.claim(
    "fig8.straight",
    "Fig. 8: out of distribution (one spike; a geometric spectrum) and on its own test set, the"
    " looped model's median log error is a nearly straight line over 10 layers and over 25"
    f" ({LOOPED}).",
    place="Fig. 8",
    provenance="stated",
    quote=q.LAYERS.quote,
    expected_verdict="holds only",
    shared_run="looped",
)
def straight_in_layers(effort: Effort) -> Finding:
    run, rows = _layered(effort)
    shares = figure8.straight_shares(run, held_out(run.config))
    named = {
        f"share of test points that are straight by themselves, {layers} layers": share
        for layers, share in shares.items()
    }
    return cells.judged(error_curves.straight_in_layers(rows, steps=_end(run)), run, **named)


@ledger.claim(
    "fig8.longer",
    "Fig. 8: each later snapshot of the looped model is closer to the power method, out of"
    f" distribution and in it (steps 100, 1,000, 10,000, 30,000; {LOOPED}).",
    place="cf. Fig. 8",
    provenance="ours",
    expected_verdict="holds only",
    shared_run="looped",
)
def longer_in_layers(effort: Effort) -> Finding:
    run, rows = _layered(effort)
    return cells.judged(error_curves.longer(rows, steps=_end(run), sentence=q.LONGER_8), run)


# --- Figures 6 and 7


@ledger.claim(
    "fig6.fixed_points",
    "Fig. 6: without LN, Task 1, both targets, after 1,000 steps all outside V_21 and W_12 is near"
    " zero, their diagonals stand out, and the weights are at the fixed points of Theorem 4.2 (d ="
    " 16, n = 32, SGD at learning rate 0.1 on batches of 128, one seed).",
    place="Fig. 6",
    provenance="stated",
    quote=q.FIXED.quote,
    shared_run="sphere",
)
def fixed_points_of_task_1(effort: Effort) -> Finding:
    both, rows = _without_ln(effort, "sphere")
    return cells.judged(sentences.fixed_points(rows, steps=_end(both), sentence=q.FIXED), both)


@ledger.claim(
    "fig6.leaving",
    "Fig. 6: without LN, Task 1, after 10,000 steps the normalised target has left its fixed point,"
    " a saddle, and the unnormalised target has not (d = 16, n = 32, SGD at learning rate 0.1 on"
    " batches of 128, one seed).",
    place="cf. Fig. 6",
    provenance="ours",
    shared_run="sphere",
)
def leaving_of_task_1(effort: Effort) -> Finding:
    both, rows = _without_ln(effort, "sphere")
    return cells.judged(sentences.leaving(rows, steps=_end(both), sentence=q.LEAVING), both)


@ledger.claim(
    "fig7.fixed_points",
    "Fig. 7: without LN, Task 2, both targets, after 1,000 steps all outside V_21 and W_12 is near"
    " zero, their diagonals stand out, and the weights are at the fixed points of Theorem 4.2 (d ="
    " 16, n = 32, SGD at learning rate 0.1 on batches of 128, one seed).",
    place="Fig. 7",
    provenance="stated",
    quote=q.FIXED_7.quote,
    shared_run="planted",
)
def fixed_points_of_task_2(effort: Effort) -> Finding:
    both, rows = _without_ln(effort, "planted")
    return cells.judged(sentences.fixed_points(rows, steps=_end(both), sentence=q.FIXED_7), both)


@ledger.claim(
    "fig7.leaving",
    "Fig. 7: without LN, Task 2, after 10,000 steps the normalised target has left its fixed point,"
    " a saddle, and the unnormalised target has not (d = 16, n = 32, SGD at learning rate 0.1 on"
    " batches of 128, one seed).",
    place="cf. Fig. 7",
    provenance="ours",
    shared_run="planted",
)
def leaving_of_task_2(effort: Effort) -> Finding:
    both, rows = _without_ln(effort, "planted")
    return cells.judged(sentences.leaving(rows, steps=_end(both), sentence=q.LEAVING_7), both)


# --- what several share


def _end(run: Trained) -> int:
    return int(run.steps[-1])


def _grown(run: Trained, found: sentences.Judgement) -> Finding:
    finding = cells.judged(found, run)
    curves = [
        Curve(f"||{name}||_max", run.steps[1:], run.metrics[key][1:, 0])
        for name, key in (("W", "w_max"), ("V", "v_max"))
    ]
    return Finding(**{**vars(finding), "plot": Plot(curves, "step", "largest absolute entry")})


def _looped_at_test_time(effort: Effort) -> tuple[Trained, list[Row]]:
    run = cells.layerwise(effort.seed)
    return run, figure5.loop_rows(run, "Task 1", held_out(run.config).fixed())


def _layered(effort: Effort) -> tuple[Trained, list[Row]]:
    run, rows = cells.looped(effort.seed), []
    keep = {"queries": figure8.QUERIES, "seed": effort.seed}
    for panel, points in (
        ("its test set", held_out(run.config)),
        ("one spike", spectrum_points(figure8.SPIKED, samples=64, **keep)),
        ("geometric spectrum", spectrum_points(figure8.GEOMETRIC, samples=32, **keep)),
    ):
        rows += figure8.layer_rows(panel, run, None, points)
    return run, rows


def _without_ln(effort: Effort, task: Task) -> tuple[Trained, list[Row]]:
    both = cells.both_targets(effort.seed, task)
    stops = levels(both["normalized"].config)
    rows = [
        row
        for target, run in both.items()
        for row in weight_rows(run, TARGETS[target], stops[target])
    ]
    return both["normalized"], rows
