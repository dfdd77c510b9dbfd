package imstest_test

import (
	"fmt"
	"strings"

	"github.com/fastimage/fastimage/quickimport/imstest"
)

func Example() {
	s, err := imstest.New(imstest.WithRegion("cn-north-4"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	if err := s.PutObject(s.Bucket(), "disk.raw", strings.NewReader("a disk")); err != nil {
		fmt.Println(err)
		return
	}
	for _, o := range s.Objects(s.Bucket()) {
		fmt.Println(o.Key, o.Size)
	}
	// Output: disk.raw 6
}
