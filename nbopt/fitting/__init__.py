"""Fits of models to data: least_squares(), curve_fit() and what they run on."""
