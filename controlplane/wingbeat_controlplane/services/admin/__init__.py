"""AdminService, one module a noun; `service.py` puts them together."""
