"""Seurat's integration by anchors, in R: files handed over, one program, checks of what comes back."""
