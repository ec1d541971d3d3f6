"""Sockets that take lines."""
