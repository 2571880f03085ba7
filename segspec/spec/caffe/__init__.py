"""A network or a solver that Caffe wrote, read as the same typed values that YAML gives."""
