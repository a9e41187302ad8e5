"""What the server's routes are and take: as an OpenAPI document, and as a page for people."""

from routemoa.gateway.openapi.document import build_document
from routemoa.gateway.openapi.page import render_page

__all__ = ["build_document", "render_page"]
