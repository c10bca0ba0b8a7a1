// Stores an object in the local OSS and reads it back: go run store.go http://127.0.0.1:8081
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

func store(endpoint string) (string, error) {
	client, err := oss.New(endpoint, "ID", "SECRET")
	if err != nil {
		return "", err
	}
	bucket, err := client.Bucket("my-bucket")
	if err != nil {
		return "", err
	}
	if err := bucket.PutObject("go.txt", strings.NewReader("hello from Go")); err != nil {
		return "", err
	}
	body, err := bucket.GetObject("go.txt")
	if err != nil {
		return "", err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	return string(text), err
}

func main() {
	text, err := store(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
}
