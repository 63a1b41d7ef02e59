"""What the signals, units and Jacobians of a model say."""
