"""Typed reading of the tree: field types, and the turning of pydantic's errors into messages with places."""
