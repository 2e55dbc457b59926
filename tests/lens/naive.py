"""Leading modes of small matrices by the textbook, as an oracle."""

import numpy as np


def leading_mode(matrix: np.ndarray) -> tuple[complex, np.ndarray]:
    """The eigenvalue of largest modulus (Im >= 0 of a pair) and an orthonormal basis of its line
    or plane.
    """
    values, vectors = np.linalg.eig(matrix)
    upper = np.flatnonzero(np.imag(values) >= 0)
    best = upper[np.argmax(np.abs(values[upper]))]
    return complex(values[best]), plane(vectors[:, best])


def reading_mode(matrix: np.ndarray, value: complex) -> np.ndarray:
    """The same basis for the left eigenvectors of an eigenvalue."""
    values, vectors = np.linalg.eig(matrix.T)
    return plane(vectors[:, np.argmin(np.abs(values - np.conj(value)))])


def plane(vector: np.ndarray) -> np.ndarray:
    """Orthonormal basis of what the real and the imaginary part span."""
    real, imaginary = np.real(vector), np.imag(vector)
    return np.linalg.qr(np.stack([real, imaginary] if imaginary.any() else [real], axis=1))[0]
