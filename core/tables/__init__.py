"""Tables of any format: read row by row, their columns found by name, and written."""
