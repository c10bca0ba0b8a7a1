"""Upload a file by a signed PUT, with Python alone:  python put.py FILE [SIGNATURE-ENDPOINT]"""

import json
import mimetypes
import sys
from pathlib import Path
from urllib.parse import urlencode, urljoin
from urllib.request import Request, urlopen


def put(path, endpoint="http://127.0.0.1:8080/oss/signature"):
    path, size = Path(path), Path(path).stat().st_size
    content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    query = urlencode({"method": "put", "filename": path.name, "size": size, "content_type": content_type})
    with urlopen(f"{endpoint}?{query}") as answer:
        signed = json.load(answer)
    with path.open("rb") as file:
        # Without a length urllib sends the file in chunks, and OSS refuses what has no Content-Length.
        headers = {**signed["headers"], "Content-Length": str(size)}
        with urlopen(Request(signed["url"], file, headers, method="PUT")) as answer:
            if answer.status != 200:  # 203: stored, but the callback failed
                raise RuntimeError(answer.read().decode())
            if "ticket" not in signed:
                return json.load(answer)
    # OSS_REPORT_BY=page: OSS reports nothing, so this program does.
    body = json.dumps({"ticket": signed["ticket"], "object": signed["key"]}).encode()
    with urlopen(Request(urljoin(endpoint, "recover"), body, {"Content-Type": "application/json"})) as answer:
        return json.load(answer)


if __name__ == "__main__":
    print(json.dumps(put(*sys.argv[1:])))
