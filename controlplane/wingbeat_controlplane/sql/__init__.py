"""Read-only SQL over the views of an installation."""
