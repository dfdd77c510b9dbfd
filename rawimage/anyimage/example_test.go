package anyimage_test

import (
	"fmt"

	"github.com/fastimage/fastimage/rawimage/anyimage"
)

func Example() {
	d, err := anyimage.Open("../../testdata/disk.raw") // or any other image
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	fmt.Println(d.Format(), d.Size()>>20, "MiB")
	for _, w := range d.Warnings() {
		fmt.Println("warning:", w)
	}
	for e, err := range d.Extents() {
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = e // data: read it with d.ReadAt
	}
	if err := d.CheckUnchanged(); err != nil {
		fmt.Println(err)
	}
	// Output: raw 64 MiB
}
