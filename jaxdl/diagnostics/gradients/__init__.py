"""What the gradients of a model and a batch say."""
