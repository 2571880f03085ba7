"""From one file format to the other: nets between prototxt and YAML, weights between caffemodel and safetensors."""
