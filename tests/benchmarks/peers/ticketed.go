//go:debug rsa1024min=0

// What oss_wsgi does on a callback, in Go: the signature of one of the trusted keys, a ticket of the same bytes as ours
// opened and compared with the report, and the answer kept for each ticket, object and ETag.
//
//	ticketed PORT        with OSS_BUCKET, OSS_TICKET_SECRET and OSS_TRUSTED_KEYS as server.py reads them
package main

import (
	"container/list"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/md5"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxBody       = 64 * 1024
	maxTicket     = 6000
	maxKey        = 1023
	maxETag       = 64
	maxAnswers    = 10_000
	uploadSeconds = 12 * 3600
	ok            = `{"Status": "Ok"}`
)

// refusal is an error that has a status.
type refusal int

func (status refusal) Error() string { return http.StatusText(int(status)) }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func trustedKeys(text string) map[string]*rsa.PublicKey {
	keys := map[string]*rsa.PublicKey{}
	for _, pair := range strings.Split(text, ",") {
		at := strings.LastIndex(pair, "=")
		block, _ := pem.Decode(must(os.ReadFile(pair[at+1:])))
		name := base64.StdEncoding.EncodeToString([]byte(pair[:at]))
		keys[name] = must(x509.ParsePKIXPublicKey(block.Bytes)).(*rsa.PublicKey)
	}
	return keys
}

type secret struct {
	id, root []byte
	lock     sync.Mutex
	days     map[uint32]cipher.AEAD
}

func newSecret(text string) *secret {
	derived := must(hkdf.Key(sha256.New, []byte(text), nil, "oss_wsgi upload ticket", 36))
	return &secret{id: derived[:4], root: derived[4:], days: map[uint32]cipher.AEAD{}}
}

func (secret *secret) day(day uint32) cipher.AEAD {
	secret.lock.Lock()
	defer secret.lock.Unlock()
	aead := secret.days[day]
	if aead == nil {
		if len(secret.days) > 8 {
			clear(secret.days)
		}
		key := must(hkdf.Key(sha256.New, secret.root, nil, fmt.Sprintf("day %d", day), 32))
		aead = must(cipher.NewGCM(must(aes.NewCipher(key))))
		secret.days[day] = aead
	}
	return aead
}

type ticket struct {
	id        string
	bucket    string
	key       *string
	prefix    string
	low, high int64
	types     []string
	until     int64
	user      *string
	data      map[string]any
}

var base64URL = base64.RawURLEncoding.Strict()

func (secret *secret) open(text string) (*ticket, error) {
	if len(text) == 0 || len(text) > maxTicket || len(text)%4 != 0 {
		return nil, refusal(403)
	}
	sealed, err := base64URL.DecodeString(text)
	// They are fewer where the text has a line feed, which the decoder passes over.
	if err != nil || len(sealed) != len(text)/4*3 || len(sealed) < 36 || string(sealed[:4]) != string(secret.id) {
		return nil, refusal(403)
	}
	header, nonce := sealed[:8], sealed[8:20]
	plain, err := secret.day(binary.BigEndian.Uint32(header[4:])).Open(nil, nonce, sealed[20:], header)
	if err != nil {
		return nil, refusal(403)
	}
	opened := ticket{id: string(nonce)}
	var expires int64
	members := []any{
		&opened.bucket, &opened.key, &opened.prefix, &opened.low, &opened.high, &opened.types, &expires, &opened.user,
		&opened.data,
	}
	if json.Unmarshal(plain, &members) != nil {
		return nil, refusal(403)
	}
	opened.until = expires + uploadSeconds
	if time.Now().Unix() > opened.until {
		return nil, refusal(403)
	}
	return &opened, nil
}

func (ticket *ticket) allows(report url.Values) bool {
	name := report.Get("filename")
	size, err := strconv.ParseInt(report.Get("size"), 10, 64)
	if err != nil || report.Get("bucket") != ticket.bucket || name == "" || len(name) > maxKey {
		return false
	}
	if ticket.key != nil && name != *ticket.key || ticket.key == nil && !strings.HasPrefix(name, ticket.prefix) {
		return false
	}
	if len(report.Get("etag")) > maxETag || size < ticket.low || size > ticket.high {
		return false
	}
	essence, _, _ := strings.Cut(report.Get("mimeType"), ";")
	return len(ticket.types) == 0 || slices.Contains(ticket.types, strings.ToLower(strings.TrimSpace(essence)))
}

// uses are what one ticket was used for.
type uses struct {
	id, name string
	until    int64
	answers  map[string]string
}

// ledger keeps answers by ticket, in the order of their expiry, near enough: forms of one server live equally long.
type ledger struct {
	lock    sync.Mutex
	tickets map[string]*uses
	order   *list.List
}

func (ledger *ledger) once(ticket *ticket, name, etag string) (string, error) {
	ledger.lock.Lock()
	defer ledger.lock.Unlock()
	if known := ledger.tickets[ticket.id]; known != nil {
		if known.name != name {
			return "", refusal(409)
		}
		if answer, found := known.answers[etag]; found {
			return answer, nil
		}
		if ticket.key != nil {
			return "", refusal(409)
		}
		known.answers[etag] = ok
		return ok, nil
	}
	now := time.Now().Unix()
	for first := ledger.order.Front(); first != nil; first = ledger.order.Front() {
		oldest := first.Value.(*uses)
		if len(ledger.tickets) < maxAnswers && oldest.until >= now {
			break
		}
		delete(ledger.tickets, oldest.id)
		ledger.order.Remove(first)
	}
	first := &uses{ticket.id, name, ticket.until, map[string]string{etag: ok}}
	ledger.tickets[ticket.id] = first
	ledger.order.PushBack(first)
	return ok, nil
}

type receiver struct {
	bucket string
	keys   map[string]*rsa.PublicKey
	secret *secret
	ledger *ledger
}

func (receiver *receiver) answer(request *http.Request) (string, error) {
	if request.Method != "POST" {
		return "", refusal(405)
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, request.Body, maxBody))
	if err != nil {
		return "", refusal(413)
	}
	key := receiver.keys[request.Header.Get("X-Oss-Pub-Key-Url")]
	signature, err := base64.StdEncoding.DecodeString(request.Header.Get("Authorization"))
	if key == nil || err != nil {
		return "", refusal(403)
	}
	path, query, asked := strings.Cut(request.RequestURI, "?")
	signed, err := url.PathUnescape(path)
	if err != nil {
		return "", refusal(400)
	}
	if asked {
		signed += "?" + query
	}
	digest := md5.Sum(append([]byte(signed+"\n"), body...))
	if rsa.VerifyPKCS1v15(key, crypto.MD5, digest[:], signature) != nil {
		return "", refusal(403)
	}
	report, err := url.ParseQuery(string(body))
	if err != nil {
		return "", refusal(400)
	}
	for _, values := range report {
		if len(values) != 1 {
			return "", refusal(400)
		}
	}
	if report.Get("bucket") != receiver.bucket {
		return "", refusal(403)
	}
	ticket, err := receiver.secret.open(report.Get("ticket"))
	if err != nil {
		return "", err
	}
	if !ticket.allows(report) {
		return "", refusal(403)
	}
	return receiver.ledger.once(ticket, report.Get("filename"), strings.ToUpper(report.Get("etag")))
}

func (receiver *receiver) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	status := 200
	body, err := receiver.answer(request)
	if err != nil {
		status, body = int(err.(refusal)), `{"error": {"code": "refused"}}`
	}
	header := response.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Referrer-Policy", "no-referrer")
	response.WriteHeader(status)
	io.WriteString(response, body)
}

func main() {
	runtime.GOMAXPROCS(1) // one core, as its neighbours have
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], &receiver{
		bucket: os.Getenv("OSS_BUCKET"),
		keys:   trustedKeys(os.Getenv("OSS_TRUSTED_KEYS")),
		secret: newSecret(os.Getenv("OSS_TICKET_SECRET")),
		ledger: &ledger{tickets: map[string]*uses{}, order: list.New()},
	}))
}
