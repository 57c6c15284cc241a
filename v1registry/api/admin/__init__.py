"""Endpoints below `/v1/admin/`, for administrators only."""
