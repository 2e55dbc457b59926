"""Power-method dynamics in pretrained transformers: which directions each layer's F = W_O W_V amplifies.

Nothing here loads torch: a directory is read with NumPy, and a loaded model brings its own.
"""

# Eager, and light (NumPy): `circuits` and `spectra` are modules and functions of this package, and the functions are
# the public names.
from eigenloop.lens.checkpoint import Weights, open_weights
from eigenloop.lens.circuits import Circuit, Norm, circuits, planted
from eigenloop.lens.comparison import Comparison, compare
from eigenloop.lens.embeddings import input_embedding, output_embedding
from eigenloop.lens.layouts import LAYOUTS, Layout
from eigenloop.lens.modes import Arnoldi, Mode, Spectrum, principal, solver
from eigenloop.lens.operators import Growth, Operator
from eigenloop.lens.querykey import QueryKey, QueryKeys, query_keys
from eigenloop.lens.reading import Reading, reading
from eigenloop.lens.spectra import RULES, LayerSpectra, Spectra, growth, layer_spectra, operator, spectra
from eigenloop.lens.stack import Stack, locate

__all__ = [
    "LAYOUTS", "RULES", "Arnoldi", "Circuit", "Comparison", "Growth", "LayerSpectra", "Layout", "Mode", "Norm",
    "Operator", "QueryKey", "QueryKeys", "Reading", "Spectra", "Spectrum", "Stack", "Weights", "circuits", "compare",
    "growth", "input_embedding", "layer_spectra", "locate", "open_weights", "operator", "output_embedding", "planted",
    "principal", "query_keys", "reading", "solver", "spectra",
]  # fmt: skip
