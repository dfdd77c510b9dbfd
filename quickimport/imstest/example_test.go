package imstest_test

import (
	"fmt"
	"strings"

	"github.com/fastimage/fastimage/quickimport/imstest"
)

// A creation that is carried out, answered with 504, and listed late.
func ExampleServer_Fail() {
	s, err := imstest.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	s.Fail(imstest.AcceptThen(504, 3))

	same, err := imstest.ParseFault("create:504-after-accept,list-late=3:1")
	fmt.Println(same.Op, same.Status, same.Drop, same.ListLate, err)
	_, err = imstest.ParseFault("create:504-after-lunch")
	fmt.Println(err != nil)
	// Output:
	// create 504 true 3 <nil>
	// true
}

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
