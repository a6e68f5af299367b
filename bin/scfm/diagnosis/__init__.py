"""Why batches still differ after correction, label by label, and what a correction has cost."""
