"""UCE: own PyTorch inference for the official checkpoint format."""
