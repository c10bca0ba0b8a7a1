"""What every WSGI room needs: the environ, responses, observers, diagnosis, and which applications may block."""
