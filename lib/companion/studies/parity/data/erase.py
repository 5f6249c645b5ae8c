"""Take the directions of an attribute out of vectors.

* ``fit_class_means``: the directions in which the groups' means differ. Two groups have one (light minus dark): give
  the two ends of the tones as groups for that one, or all their classes for all.
* ``fit_leace``: the smallest change after which no linear classifier does better than chance (Belrose et al. 2023,
  "LEACE: Perfect linear concept erasure in closed form", theorem 4.3).

After both, the groups have one mean. What is not linear stays: nearest neighbours may still track the attribute.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from companion.errors import CompanionError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Eraser:
    """An affine map that takes an attribute out of vectors.

    Attributes:
        mean: (d,) of the vectors it was fitted on; it stays where it is.
        into: (r, d) and ``out`` (d, r): ``out @ into`` is the projection that is taken away, r directions.
    """

    mean: Floats
    into: Floats
    out: Floats

    @property
    def rank(self) -> int:
        """How many directions are taken away."""
        return len(self.into)

    def erase(self, vectors: ArrayLike) -> Floats:
        """The vectors (n, d) without the attribute; they may be others than those it was fitted on.

        Raises:
            CompanionError: they have another width.
        """
        rows = np.asarray(vectors, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise CompanionError(
                f"vectors of shape {rows.shape}: the eraser was fitted on {len(self.mean)} numbers each"
            )
        return rows - (rows - self.mean) @ self.into.T @ self.out.T


def fit_class_means(vectors: ArrayLike, groups: ArrayLike) -> Eraser:
    """Orthogonal projection away from the differences of the groups' means: G - 1 directions, or fewer.

    Args:
        vectors: (n, d).
        groups: (n,) labels, at least two; a negative number leaves its row out (the tones between two ends).

    Raises:
        CompanionError: shapes that do not fit, or fewer than two groups.
    """
    rows, labels = _check(vectors, groups)
    means = np.stack([rows[labels == label].mean(axis=0) for label in np.unique(labels)])
    directions = _find_basis((means - means.mean(axis=0)).T)
    return Eraser(rows.mean(axis=0), directions.T, directions)


def fit_leace(vectors: ArrayLike, attribute: ArrayLike) -> Eraser:
    """Oblique projection that makes vectors and attribute uncorrelated and moves the vectors least.

    With W the whitening of the vectors and S their covariance with the attribute, x is mapped to
    x - W^+ P W (x - mean), where P projects on the columns of W S (eq. 1 of the paper).

    Args:
        vectors: (n, d).
        attribute: (n,) labels, as of ``fit_class_means``, or (n, k) numbers such as the angle.

    Raises:
        CompanionError: shapes that do not fit, or an attribute that is constant.
    """
    values = np.asarray(attribute)
    if values.ndim == 1:
        rows, labels = _check(vectors, values)
        targets = (labels[:, None] == np.unique(labels)).astype(np.float64)
    else:
        rows, targets = np.asarray(vectors, dtype=np.float64), values.astype(np.float64)
        if rows.ndim != 2 or targets.shape[:1] != rows.shape[:1] or not (np.ptp(targets, axis=0) > 0).any():
            raise CompanionError("the attribute is constant or not one row for each vector: nothing can be erased")
    mean = rows.mean(axis=0)
    centred = rows - mean
    _, sizes, axes = np.linalg.svd(centred / np.sqrt(len(rows)), full_matrices=False)
    real = sizes > sizes[0] * 1e-10 * max(centred.shape) ** 0.5
    sizes, axes = sizes[real], axes[real]
    covariance = axes @ (centred.T @ (targets - targets.mean(axis=0)) / len(rows))
    directions = _find_basis(covariance / sizes[:, None])
    return Eraser(mean, directions.T @ (axes / sizes[:, None]), (axes.T * sizes) @ directions)


def _find_basis(columns: Floats) -> Floats:
    """Orthonormal (d, r) basis of the space of (d, m) columns."""
    basis, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return basis[:, sizes > max(sizes[0], 1e-300) * 1e-10]


def _check(vectors: ArrayLike, groups: ArrayLike) -> tuple[Floats, NDArray]:
    rows, labels = np.asarray(vectors, dtype=np.float64), np.asarray(groups)
    if rows.ndim != 2 or labels.shape != rows.shape[:1] or not np.isfinite(rows).all():
        raise CompanionError(f"vectors of shape {rows.shape} and groups of shape {labels.shape}: give (n, d) and (n,)")
    kept = labels >= 0 if labels.dtype.kind in "if" else np.ones(len(labels), dtype=bool)
    if len(np.unique(labels[kept])) < 2:
        raise CompanionError("there are fewer than two groups: nothing tells them apart")
    return rows[kept], labels[kept]
