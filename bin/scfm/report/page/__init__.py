"""The page: HTML, style, and what MultiQC reads."""
