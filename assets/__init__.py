"""Models, data sets and pictures: the only package that reads files."""
