"""Files of weights: reading, writing and fitting them to a net."""
