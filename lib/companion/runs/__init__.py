"""Running: a frozen spec becomes one record on disk; local processes, folder lock, strict notebooks."""
