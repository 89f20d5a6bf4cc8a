"""What a clip costs in energy: counted operations, a model with memory, and rails where a device measured them."""
