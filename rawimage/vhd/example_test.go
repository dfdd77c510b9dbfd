package vhd_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fastimage/fastimage/rawimage/vhd"
)

// fixedDisk is the smallest VHD: four sectors and their footer.
func fixedDisk() string {
	b := make([]byte, 4*512+512)
	copy(b, "hello")
	foot := b[4*512:]
	copy(foot, "conectix")
	copy(foot[28:], "win ")
	binary.BigEndian.PutUint64(foot[48:], 4*512)
	binary.BigEndian.PutUint32(foot[60:], 2)
	seal(b, 4*512, 512, 64)
	return string(b)
}

func Example() {
	file := fixedDisk()
	r, err := vhd.NewReader(strings.NewReader(file), int64(len(file)))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Info().Subformat, r.Size())

	for off := int64(0); ; {
		start, end, err := r.NextData(off)
		if errors.Is(err, io.EOF) {
			break
		}
		fmt.Println("data from", start, "to", end)
		off = end
	}
	p := make([]byte, 5)
	_, err = r.ReadAt(p, 0)
	fmt.Printf("%s %v\n", p, err)
	// Output:
	// fixed 2048
	// data from 0 to 2048
	// hello <nil>
}
