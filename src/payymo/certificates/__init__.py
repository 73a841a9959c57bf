"""Certificates of the service's own: import, requests, rotation, a development authority."""
