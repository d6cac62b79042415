"""The web page behind app.py: views, charts and the client of the API; it knows the server by HTTP alone."""
