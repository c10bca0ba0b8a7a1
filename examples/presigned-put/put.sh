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

# OSS_REPORT_BY=page: the answer has a ticket, with which this script reports what it has stored.
report=$(printf %s "$signed" | python3 -c '
import json, sys

signed = json.load(sys.stdin)
if "ticket" in signed:
    print(json.dumps({"ticket": signed["ticket"], "object": signed["key"]}))
')
if [ -n "$report" ] && [ "${answer##*
}" = 200 ]; then
    exec curl -fsS "${endpoint%/signature*}/recover" -H 'Content-Type: application/json' -d "$report"
fi

# 203 is stored, but not reported; curl takes it for a success.
printf '%s\n' "${answer%
*}"
[ "${answer##*
}" = 200 ]
