"""Reasonmill's faces: the command line and the light client. Importing this loads nothing heavy."""

__version__ = "0.1.0"
