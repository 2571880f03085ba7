"""A run: its folder, its log, its snapshots. What the trainer writes and the evaluator reads."""
