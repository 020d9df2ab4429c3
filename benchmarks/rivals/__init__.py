"""Other ways to do the same, each as its users would set it up."""
