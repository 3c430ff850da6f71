"""Tallystick: the iExec compute network, in Python, from one command."""

__version__ = "0.1.0"
