#!/bin/sh
# Upload a file by a signed PUT with curl and python3:  put.sh FILE TYPE [SIGNATURE-ENDPOINT]
# Login: put what your own server wants into ~/.netrc, or add -H "Authorization: ..." to the first curl.
set -eu
file=$1 type=$2 endpoint=${3:-http://127.0.0.1:8080/oss/signature}

signed=$(curl -fsS --get "$endpoint" -d method=put -d "size=$(($(wc -c <"$file")))" \
    --data-urlencode "filename=${file##*/}" --data-urlencode "content_type=$type")

answer=$(printf %s "$signed" | python3 -c '
import json, sys

signed = json.load(sys.stdin)
print("url =", json.dumps(signed["url"]))
for name, value in signed["headers"].items():
    print("header =", json.dumps(f"{name}: {value}"))
' | curl -sS --config - -T "$file" -w '\n%{http_code}')

# 203 is stored, but not reported; curl takes it for a success.
printf '%s\n' "${answer%
*}"
[ "${answer##*
}" = 200 ]
