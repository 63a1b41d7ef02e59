"""How measurements are told: thresholds, tables, axes of layers, and the one page of everything."""
