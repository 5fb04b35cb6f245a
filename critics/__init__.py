"""How a critic learns and scores: the only room, beside the starter's training, that imports torch model classes."""
