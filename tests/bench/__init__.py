"""What benches say of their figures, and the shares that they hold replicas to."""
