"""What all foundation models share: readers, tokens, layers, checkpoints, the runner."""
