"""Caffe's binary files: protobuf's wire format, and the arrays in it."""
