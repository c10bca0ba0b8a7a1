"""What every WSGI room needs: the environ, responses, observers, diagnosis, and the question what may block."""
