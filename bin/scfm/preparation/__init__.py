"""From raw counts to a prepared data set: filters, variable genes, normalisation, PCA, design."""
