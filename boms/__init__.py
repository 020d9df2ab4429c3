"""Bills of materials as CAD tools and distributors export them, read into lines. Pure; service and workers use it."""
