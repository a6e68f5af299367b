"""Evidence from outside of the embedding: gene sets, regulators, a second modality, clinical fields."""
