"""The training side of the model: neurons, attention, blocks, backbone and heads."""
