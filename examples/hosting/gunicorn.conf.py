"""Settings of gunicorn: gunicorn -c gunicorn.conf.py yourapp:application."""

# Behind nginx-proxy.conf. gunicorn's threads do not protect from slow clients; nginx does.
bind = "127.0.0.1:8000"
worker_class = "gthread"
threads = 8

# Processes share OSS_TICKET_SECRET and OSS_LEDGER, so both must be set.
workers = 2

# After SIGTERM: time to answer what has begun. OSS waits 5 seconds for the response to a callback.
graceful_timeout = 10
