"""Base model, LoRA, fine-tuning, scoring."""

import logging

# As it is imported it looks for an optional kernel, and each time warns that there is none.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
