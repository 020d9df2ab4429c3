"""What rowcast costs, beside its rivals in the same run: ``python -m benchmarks``, or one row with its module."""
