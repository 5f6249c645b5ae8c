"""Speed beside the usual tools: every number of figures/bench.csv is measured here, ways taking turns in one run."""
