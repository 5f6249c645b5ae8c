"""Arrays in, estimates out: no files, no plots, no models."""
