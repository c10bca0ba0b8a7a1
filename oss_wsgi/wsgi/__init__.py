"""What every WSGI room needs: reading the environ, JSON responses, observers, diagnosis."""
