//go:debug rsa1024min=0

// The least that a sample does in Go: a V4 form for a new name, and a callback verified with a kept key.
package main

import (
	"crypto"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"time"
)

const publicKey = `-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK6OjU5GSzz6/IoO/aqrVYyKD2ZmtD2R
ud9KNyN/3hRDVeYfhxwhVGyOVI3fmacey/pvOcs4LXGOdKzht4rT2jMCAwEAAQ==
-----END PUBLIC KEY-----
`

type object = map[string]any
type list = []any

func sign(key []byte, text string) []byte {
	digest := hmac.New(sha256.New, key)
	digest.Write([]byte(text))
	return digest.Sum(nil)
}

func encode(value any) string {
	text, _ := json.Marshal(value)
	return base64.StdEncoding.EncodeToString(text)
}

func signature() object {
	now := time.Now().UTC()
	date, day := now.Format("20060102T150405Z"), now.Format("20060102")
	random := make([]byte, 16)
	rand.Read(random)
	key := "user-dir-prefix/" + day + "/" + hex.EncodeToString(random) + ".png"
	credential := "id/" + day + "/cn-hangzhou/oss/aliyun_v4_request"
	callback := encode(object{
		"callbackUrl":      "https://app.example.com/oss/callback",
		"callbackBody":     "filename=${object}&size=${size}&mimeType=${mimeType}&height=${imageInfo.height}&width=${imageInfo.width}",
		"callbackBodyType": "application/x-www-form-urlencoded",
	})
	policy := encode(object{
		"expiration": now.Add(300 * time.Second).Format("2006-01-02T15:04:05.000Z"),
		"conditions": list{
			object{"bucket": "examplebucket"},
			list{"eq", "$key", key},
			object{"callback": callback},
			object{"x-oss-signature-version": "OSS4-HMAC-SHA256"},
			object{"x-oss-credential": credential},
			object{"x-oss-date": date},
			list{"content-length-range", 0, 1048576000},
		},
	})
	secret := []byte("aliyun_v4secret")
	for _, step := range []string{day, "cn-hangzhou", "oss", "aliyun_v4_request"} {
		secret = sign(secret, step)
	}
	return object{
		"host": "https://examplebucket.oss-cn-hangzhou.aliyuncs.com", "dir": "user-dir-prefix/", "key": key,
		"policy": policy, "x_oss_signature_version": "OSS4-HMAC-SHA256", "x_oss_credential": credential,
		"x_oss_date": date, "signature": hex.EncodeToString(sign(secret, policy)), "callback": callback,
		"security_token": "", "expire": now.Unix() + 300,
	}
}

func answer(response http.ResponseWriter, status int, value any) {
	body, _ := json.Marshal(value)
	response.Header().Set("Content-Type", "application/json")
	response.WriteHeader(status)
	response.Write(body)
}

func main() {
	runtime.GOMAXPROCS(1) // one core, as its neighbours have
	block, _ := pem.Decode([]byte(publicKey))
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		panic(err)
	}
	handler := func(response http.ResponseWriter, request *http.Request) {
		if request.Method != "POST" {
			answer(response, 200, signature())
			return
		}
		body, _ := io.ReadAll(request.Body)
		target, _ := url.PathUnescape(request.URL.EscapedPath())
		given, _ := base64.StdEncoding.DecodeString(request.Header.Get("Authorization"))
		digest := md5.Sum(append([]byte(target+"\n"), body...))
		if rsa.VerifyPKCS1v15(parsed.(*rsa.PublicKey), crypto.MD5, digest[:], given) != nil {
			answer(response, 403, object{"Status": "no"})
			return
		}
		answer(response, 200, object{"Status": "Ok"})
	}
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(handler)))
}
