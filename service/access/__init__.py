"""Who may listen: access tokens and membership."""
