"""Context-free shortcuts that a rater must beat: label counts, length, and words alone.

All are fitted on training labels 1, 2, ... (`bag_of_words`: 1..5) and return predicted labels (n_test,); the same input
gives the same output.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier

from companion.errors import CompanionError


def majority(train_labels: ArrayLike, test_size: int) -> NDArray[np.int64]:
    """The commonest training label, ``test_size`` times; ties go to the lower label."""
    labels = _labels(train_labels)
    return np.full(test_size, np.bincount(labels).argmax())


def length_only(train_texts: Sequence[str], train_labels: ArrayLike, test_texts: Sequence[str]) -> NDArray[np.int64]:
    """Labels from the numbers of words and characters, by a small decision tree (any shape of dependence)."""
    labels = _labels(train_labels, train_texts)
    tree = DecisionTreeClassifier(max_leaf_nodes=8, min_samples_leaf=max(1, len(labels) // 20), random_state=0)
    predicted = tree.fit(_lengths(train_texts), labels).predict(_lengths(test_texts))
    return np.asarray(predicted, dtype=np.int64)


def bag_of_words(train_texts: Sequence[str], train_labels: ArrayLike, test_texts: Sequence[str]) -> NDArray[np.int64]:
    """Labels from tf-idf words and word pairs by ridge regression on the label, rounded into 1..5 (halves go up)."""
    labels = _labels(train_labels, train_texts)
    if labels.max() > 5:
        raise CompanionError("the bag of words rounds into 1..5: use the word classifier for other labels")
    # the default pattern drops one-letter words, and then fails on texts of nothing else
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    if not any(text.split() for text in train_texts):
        raise CompanionError("all training texts are empty: a bag of words needs words")
    ridge = Ridge(alpha=0.3, solver="sparse_cg", tol=1e-8).fit(words.fit_transform(train_texts), labels)
    rounded = np.floor(ridge.predict(words.transform(test_texts)) + 0.5)
    return np.asarray(np.clip(rounded, 1, 5), dtype=np.int64)


def word_classifier(
    train_texts: Sequence[str], train_labels: ArrayLike, test_texts: Sequence[str]
) -> NDArray[np.int64]:
    """Labels that need no order, from tf-idf words and word pairs by logistic regression.

    Raises CompanionError for fewer than two different labels.
    """
    labels = _labels(train_labels, train_texts)
    if len(np.unique(labels)) < 2:
        raise CompanionError("all training texts have one label: a classifier needs two or more")
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    fitted = LogisticRegression(C=10.0, max_iter=1000).fit(words.fit_transform(train_texts), labels)
    return np.asarray(fitted.predict(words.transform(test_texts)), dtype=np.int64)


def _lengths(texts: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[len(text.split()), len(text)] for text in texts], dtype=float)


def _labels(train_labels: ArrayLike, texts: Sequence[str] | None = None) -> NDArray[np.int64]:
    labels = np.asarray(train_labels)
    if labels.ndim != 1 or not len(labels) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 1:
        raise CompanionError("shortcuts are fitted on one label 1, 2, ... per text, at least one")
    if texts is not None and len(texts) != len(labels):
        raise CompanionError(f"{len(texts)} training texts but {len(labels)} labels: give one label per text")
    return labels.astype(np.int64)
