"""Power-method dynamics in pretrained transformers: which directions each layer's F = W_O W_V amplifies.

Importing it loads no torch: weights are read with NumPy, and torch comes with the first model that is run.
"""

# Eager, and light (NumPy): `circuits` and `spectra` are modules and functions of this package, and the functions are
# the public names.
from eigenloop.lens.checkpoint import Weights, open_weights
from eigenloop.lens.circuits import Circuit, Norm, circuits, planted
from eigenloop.lens.layouts import LAYOUTS, Layout
from eigenloop.lens.models import Model, load
from eigenloop.lens.modes import Arnoldi, Mode, Spectrum, principal, solver
from eigenloop.lens.operators import Growth, Operator
from eigenloop.lens.spectra import RULES, LayerSpectra, Spectra, growth, layer_spectra, operator, spectra
from eigenloop.lens.stack import Stack, locate
from eigenloop.lens.texts import Batch, Encoded, Passages, encode, passages
from eigenloop.lens.tokens import States, images, states, stream

__all__ = [
    "LAYOUTS", "RULES", "Arnoldi", "Batch", "Circuit", "Encoded", "Growth", "LayerSpectra", "Layout", "Mode", "Model",
    "Norm", "Operator", "Passages", "Spectra", "Spectrum", "Stack", "States", "Weights", "circuits", "encode",
    "growth", "images", "layer_spectra", "load", "locate", "open_weights", "operator", "passages", "planted",
    "principal", "solver", "spectra", "states", "stream",
]  # fmt: skip
