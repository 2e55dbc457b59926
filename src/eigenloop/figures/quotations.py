"""What is said of the figures of arXiv 2606.00605: its own words, with what is missing from our
copy in brackets.
"""

from dataclasses import replace

from eigenloop.figures.verdicts import Sentence

STRUCTURE = Sentence(
    1,
    "structure",
    "all entries of both matrices become small except for the diagonal entries in the bottom-left"
    " block of [V] and the top-right block of [W]",
    "Section 5",
)
SCALING = Sentence(
    1,
    "growth",
    "The active parameters also display a polynomial growth trend, and the log-log plots are"
    " consistent with the scaling predicted by Theorem 4.1",
    "Section 5",
)
POINTS_1 = Sentence(
    1,
    "the paper's points",
    "Our curves at learning rate 0.1 meet the paper's points: largest entries of W and V at 10 to"
    " 30,000 iterations, Task 1",
    "Fig. 1(c)",
    "figure",
)
LOSSES = Sentence(
    2,
    "losses",
    "For the model with LN, the training and test losses converge to near zero. By contrast, both"
    " models without LN plateau at a strictly positive training loss",
    "Section 5",
)
SEPARATION = Sentence(
    2,
    "looped at test time",
    "Theorem 4.6 predicts a slower exponential decay of angular error for the unnormalized models,"
    " and the empirical curves in Figure 2 show the same qualitative separation",
    "Section 5",
)
POINTS_2 = Sentence(
    2,
    "the paper's points",
    "Our test losses meet the paper's points, Task 1, at learning rates that were fitted to them"
    " (0.031, 0.03, 0.02)",
    "Fig. 2(b)",
    "figure",
)
ORDER = Sentence(
    2,
    "order of the angles",
    "Looped 25 times, our three models' angles are in the order of the paper's points, Task 1",
    "Fig. 2(c)",
    "figure",
)
GAP = Sentence(
    3,
    "training and test loss",
    "The losses are observed to decay consistently across all configurations. Notably, there is no"
    " discernible gap between the training loss and the test loss",
    "Appendix G.1",
)
SPARSE = Sentence(
    4,
    "structure",
    "all entries of both matrices converge to zero except for the elements on the diagonal in the"
    " bottom-left block of [V] and the top-right block of [W]",
    "Appendix G.1, whose text says Figure 1",
)
SLOPE = Sentence(
    4,
    "growth",
    "the empirical trajectories asymptotically exhibit a slope that aligns with the theoretical"
    " prediction",
    "Appendix G.1",
)
STRAIGHT = Sentence(
    5,
    "straight lines",
    "For each trained snapshot, the error curve appears as a nearly linear trajectory",
    "Appendix G.1",
)
BENT = Sentence(
    5, "beyond 25 loops", "Over 50 loops, our choice, some curve bends to a plateau", "", "ours"
)
LONGER = Sentence(
    5,
    "longer training",
    "models trained for more iterations (larger [t]) exhibit an error curve closer to that of the"
    " power method",
    "Appendix G.1",
)
FIXED = Sentence(
    6,
    "structure and fixed points",
    "These results confirm the structure and convergence to fixed points as predicted by"
    " Theorem 4.2",
    "Appendix G.2",
)
FIXED_7 = Sentence(
    7,
    "structure and fixed points",
    "All entries of matrices [V] and [W] converge to zero except for the elements in the"
    " bottom-left block of [V] and the top-right block of [W], aligning with the sparse structure"
    " predicted by our analysis in Theorem 4.2. Furthermore, the evolution of these active"
    " parameters quickly converges to fixed points",
    "Appendix G.2",
)
LEAVING = Sentence(
    6,
    "beyond the paper's window",
    "After more iterations than the paper shows, the normalised target has left its fixed point, a"
    " saddle, and the unnormalised target has not",
    "",
    "ours",
)
LEAVING_7 = replace(LEAVING, figure=7)
LAYERS = Sentence(
    8,
    "straight lines",
    "The error curve appears as a nearly linear trajectory. This linear relationship clearly shows"
    " that the error decays exponentially as the number of layers increases",
    "Appendix G.3, whose text says Figure 5",
)
LONGER_8 = Sentence(
    8,
    "longer training",
    "Is a looped model that was trained longer closer to the power method?",
    "",
    "ours",
)
