"""Power-method dynamics in pretrained transformers: which directions each layer's F = W_O W_V amplifies.

Nothing here loads torch: a directory is read with NumPy, and a loaded model brings its own.
"""

# Eager, and light (NumPy): `circuits` and `spectra` are modules and functions of this package, and the functions are
# the public names.
from eigenloop.lens.checkpoint import Weights, open_weights
from eigenloop.lens.circuits import Circuit, Norm, circuits, planted
from eigenloop.lens.layouts import LAYOUTS, Layout
from eigenloop.lens.modes import Arnoldi, Mode, Spectrum, principal, solver
from eigenloop.lens.operators import Growth, Operator
from eigenloop.lens.spectra import RULES, LayerSpectra, Spectra, growth, layer_spectra, operator, spectra
from eigenloop.lens.stack import Stack, locate

__all__ = [
    "LAYOUTS", "RULES", "Arnoldi", "Circuit", "Growth", "LayerSpectra", "Layout", "Mode", "Norm", "Operator", "Spectra",
    "Spectrum", "Stack", "Weights", "circuits", "growth", "layer_spectra", "locate", "open_weights",
    "operator", "planted", "principal", "solver", "spectra",
]  # fmt: skip
