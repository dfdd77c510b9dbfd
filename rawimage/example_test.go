package rawimage_test

import (
	"fmt"
	"log"

	"github.com/fastimage/fastimage/rawimage"
)

func Example() {
	im, err := rawimage.Open("../testdata/disk.raw")
	if err != nil {
		log.Fatal(err)
	}
	defer im.Close()

	sector := make([]byte, 512)
	if _, err := im.ReadAt(sector, 512); err != nil {
		log.Fatal(err)
	}
	fmt.Println(im.Size(), string(sector[:8]))
	// Output: 67108864 EFI PART
}
