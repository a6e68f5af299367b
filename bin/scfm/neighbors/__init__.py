"""The one search for nearest neighbours: of all cells, of a part of them, and outside a cell's own group."""
