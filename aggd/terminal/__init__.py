"""Answers as people read them in a terminal: tables, CSV, bars and charts."""
