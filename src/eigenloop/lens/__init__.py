"""Power-method dynamics in pretrained transformers: which directions each layer's F = W_O W_V
amplifies.

Importing it loads no torch: weights are read with NumPy, and torch comes with the first model that
is run.
"""

# Eager, and light (NumPy): `alignment`, `circuits` and `spectra` are modules and functions of this
# package, and the functions are the public names.
from eigenloop.lens.loops.looped import looped
from eigenloop.lens.loops.maps import looped_map
from eigenloop.lens.loops.rates import Timescale
from eigenloop.lens.loops.result import Loops
from eigenloop.lens.model.checkpoint import Weights, open_weights
from eigenloop.lens.model.embeddings import input_embedding, output_embedding
from eigenloop.lens.model.layouts import LAYOUTS, Layout
from eigenloop.lens.model.loaded import Model, load, randomised
from eigenloop.lens.model.stack import Stack, locate
from eigenloop.lens.text.aligned import Alignment
from eigenloop.lens.text.alignment import align, alignment
from eigenloop.lens.text.estimates import Estimate, HeadAlignment, LayerAlignment
from eigenloop.lens.text.headline import Headline, Verdict
from eigenloop.lens.text.nulls import Null
from eigenloop.lens.text.texts import SAMPLE, Batch, Encoded, Passages, encode, passages
from eigenloop.lens.text.tokens import States, images, states, stream
from eigenloop.lens.weights.circuits import Circuit, Norm, circuits, planted
from eigenloop.lens.weights.comparison import Comparison, compare
from eigenloop.lens.weights.modes import Arnoldi, Mode, Spectrum, principal, solver
from eigenloop.lens.weights.operators import Growth, Operator
from eigenloop.lens.weights.querykey import QueryKey, QueryKeys, query_keys
from eigenloop.lens.weights.reading import Reading, reading
from eigenloop.lens.weights.rules import RULES, growth, operator
from eigenloop.lens.weights.spectra import LayerSpectra, Spectra, layer_spectra, spectra
from eigenloop.lens.weights.subject import LayerModes, Subject

__all__ = [
    "LAYOUTS", "RULES", "SAMPLE", "Alignment", "Arnoldi", "Batch", "Circuit", "Comparison",
    "Encoded", "Estimate", "Growth", "HeadAlignment", "Headline", "LayerAlignment", "LayerModes",
    "LayerSpectra", "Layout", "Loops", "Mode", "Model", "Norm", "Null", "Operator", "Passages",
    "QueryKey", "QueryKeys", "Reading", "Spectra", "Spectrum", "Stack", "States", "Subject",
    "Timescale", "Verdict", "Weights", "align", "alignment", "circuits", "compare", "encode",
    "growth", "images", "input_embedding", "layer_spectra", "load", "locate", "looped",
    "looped_map", "open_weights", "operator", "output_embedding", "passages", "planted",
    "principal", "query_keys", "randomised", "reading", "solver", "spectra", "states", "stream",
]  # fmt: skip
