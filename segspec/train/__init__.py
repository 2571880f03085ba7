"""Training: optimizer, step, snapshots and the loop around them."""
