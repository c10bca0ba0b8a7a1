"""A Django application with the tables of ``DjangoLedger``, for INSTALLED_APPS."""
