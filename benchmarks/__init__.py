"""Measurements of speed, side by side with the bare framework and with other libraries."""
