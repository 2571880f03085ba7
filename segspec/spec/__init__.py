"""What a file says, typed: networks, class tables and solvers."""
