package quickimport_test

import (
	"context"
	"fmt"
	"log"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// A RAW disk image becomes a private image. The test cloud stands in for the
// real one: there, WithRegion and WithCredentials(EnvCredentials()) are all
// that is needed.
func Example() {
	srv, err := imstest.New()
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	c, err := quickimport.New(srv.Options()...)
	if err != nil {
		log.Fatal(err)
	}
	res, err := c.Import(context.Background(), "../testdata/disk.raw", quickimport.Image{
		Name: "web-1", OSVersion: "Debian GNU/Linux 12 64bit", Bucket: "images",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.ImageName, res.Key, res.ImageID != "", res.ObjectBytes < res.SourceBytes)
	// Output: web-1 web-1.zvhd2 true true
}

// Every problem of a request is found at once, without asking the cloud.
func ExampleImage_Validate() {
	err := quickimport.Image{Name: "web/1", OSVersion: "CentOS 7.0 64bit", Bucket: "images", Key: "web.zvhd2", MinDisk: 2000}.Validate()
	fmt.Println(err)
	// Output: quickimport: name "web/1": takes letters, digits, '-', '.', '_', spaces and Chinese characters only (leave the other characters out); min_disk "2000": must be 1 to 1024 GB (choose a size in that range)
}
