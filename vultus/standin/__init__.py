"""The stand-in world: a procedural renderer of people and the micro models trained on it."""
