package uploader_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/fastimage/fastimage/quickimport/imstest"
	"github.com/fastimage/fastimage/uploader"
)

func Example() {
	srv, err := imstest.New() // stands for OBS
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = srv.Close() }()

	client, err := uploader.NewClient(
		uploader.WithEndpoint(srv.OBSEndpoint()),
		uploader.WithRegion(srv.Region()),
		uploader.WithStaticCredentials(srv.AccessKey(), srv.SecretKey(), ""),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	up, err := uploader.New(client, uploader.WithConcurrency(8))
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := up.UploadStream(context.Background(), srv.Bucket(), "hello.txt", strings.NewReader("hello"), 1<<30)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.ObjectBytes, "bytes in", res.Parts, "part, ETag", res.ETag)

	obj, err := client.OpenObject(context.Background(), srv.Bucket(), "hello.txt")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = obj.Close() }()
	buf := make([]byte, 4)
	n, err := obj.ReadAt(buf, 1)
	fmt.Println(string(buf[:n]), err)
	// Output:
	// 5 bytes in 1 part, ETag 5d41402abc4b2a76b9719d911017c592
	// ello <nil>
}
