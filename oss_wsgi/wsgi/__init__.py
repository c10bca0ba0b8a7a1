"""What every WSGI room needs: the environ, responses, observers, diagnosis, and what may block."""
