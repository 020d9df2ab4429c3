"""What it means: one module per feed translates its changes into messages."""
