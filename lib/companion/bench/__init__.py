"""Speed beside the usual tools: every number of figures/bench.csv is measured here, the ways of a part taking turns."""
