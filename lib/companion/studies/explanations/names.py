"""The names of this study: arms with their colours and markers, axes, sources, measures and baselines."""

from companion.corpora.originals import ORIGINALS
from companion.corpora.sources import SOURCES
from companion.show.names import Names, Style

# Colours are those of Okabe and Ito, filled up with Tol's muted set: all told apart with colour-blind eyes, and never
# by colour alone, since marker and dash differ too.
STYLES = {
    "base": Style("base (no training)", "#666666", "X", (0, (1, 1))),
    "label": Style("label only", "#0072B2", "o"),
    "explanation": Style("label + explanation", "#D55E00", "s"),
    "shuffled": Style("label + shuffled words", "#009E73", "^", (0, (5, 1.5))),
    "bag_of_words": Style("label + bag of words", "#CC79A7", "D", (0, (3, 1, 1, 1))),
    "mismatched": Style("label + other item's text", "#E69F00", "v", (0, (5, 1.5))),
    "uniform_tokens": Style("label + random tokens", "#56B4E9", "P", (0, (3, 1, 1, 1))),
    "explanation_first": Style("explanation, then label", "#882255", "<", (0, (5, 1.5))),
    "label_token_matched": Style("label repeated", "#332288", ">", (0, (3, 1, 1, 1))),
    "label_weighted": Style("label weighted + explanation", "#999933", "h", (0, (1, 1))),
}
AXES = {
    "naturalness": "naturalness",
    "comprehensiveness": "comprehensiveness",
    "on_topic": "on-topic adherence",
    "pooled": "all axes",
}
MEASURES = {
    "output_entropy": "output entropy (nats)",
    "label_entropy": "label entropy (nats)",
    "peak_mass": "peak mass (probability)",
    "confidence_right": "confidence when right",
    "confidence_wrong": "confidence when wrong",
    "E1": "E1 activation entropy (share of maximum)",
    "E2": "E2 softmax entropy (share of maximum)",
    "E3": "E3 logit-lens entropy (share of maximum)",
    "label_loss": "loss at the label token (nats)",
    "rest_loss": "mean loss of the other tokens (nats)",
}
BASELINES = {
    "majority": "most frequent training label",
    "length": "length-only baseline",
    "words_only": "bag-of-words baseline",
}
HEADINGS = {
    "mcnemar_better": "seeds clearly better",
    "mcnemar_worse": "seeds clearly worse",
    "gained": "items only treated right",
    "lost": "items only baseline right",
    "examples_seen": "training examples seen",
}
# A source is never shown without the data set of the paper that it stands in for.
STAND_INS = {name: f"{name.replace('_', ' ')} (for {source.stands_in_for})" for name, source in SOURCES.items()}
TITLES = {name: original.title for name, original in ORIGINALS.items()}

NAMES = Names(
    styles=STYLES,
    values={"axis": AXES, "source": STAND_INS | TITLES, "measure": MEASURES, "reference": BASELINES, "rule": {}},
    headings=HEADINGS | AXES,
)
