"""What mod_wsgi loads: /srv/app/app.wsgi. SetEnv of Apache does not reach os.environ, so a file has the settings.

/etc/oss-wsgi.env, mode 0640, of root and the group of Apache's user: OSS_BUCKET=... and so on, one per line, without
quotation marks.
"""

import os

with open("/etc/oss-wsgi.env", encoding="utf-8") as file:
    lines = [line.strip() for line in file]
os.environ.update(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

from yourapp import application
