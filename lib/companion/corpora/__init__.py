"""Real conversations, read from installed packages, filtered, and divided without leaks."""
