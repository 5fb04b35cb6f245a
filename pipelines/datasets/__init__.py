"""Dataset versions: immutable folders with a manifest and a card; what is in them, and how they are found."""
