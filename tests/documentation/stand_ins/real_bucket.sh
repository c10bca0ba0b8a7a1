# A local OSS stands in for the bucket that a page has exported, and this machine for the public address.
port=${1:-8080}
case $OSS_ACCESS_KEY_ID in
...) export OSS_ACCESS_KEY_ID=LTAI5tExampleKeyId000001 OSS_ACCESS_KEY_SECRET=ExampleSecret0000000000000000A ;;
esac
oss-wsgi local --bucket "$OSS_BUCKET" --access-key-id "$OSS_ACCESS_KEY_ID" \
    --access-key-secret "$OSS_ACCESS_KEY_SECRET" --cors "http://127.0.0.1:$port" >local.log 2>&1 &
until curl -sfo key.pem http://127.0.0.1:8081/callback_pub_key.pem; do sleep 0.1; done
export OSS_HOST=http://127.0.0.1:8081/$OSS_BUCKET OSS_CALLBACK_URL=http://127.0.0.1:$port/oss/callback
export OSS_TRUSTED_KEYS=http://127.0.0.1:8081/callback_pub_key.pem=$PWD/key.pem
