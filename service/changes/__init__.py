"""What comes in: changes read from the change log, in order and without holes."""
