"""The place of the page's files in the package: setuptools finds it here and fills it from `static/` at the top."""
