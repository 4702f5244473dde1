"""Two simulated weeks of fifty people at six terminals: what really happened, how it was told, what HRMS makes of it."""
