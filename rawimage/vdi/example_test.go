package vdi_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fastimage/fastimage/rawimage/vdi"
)

// smallDisk is a disk of two blocks of 4 KiB, of which the second is stored.
func smallDisk() string {
	b := make([]byte, 1024+4096)
	le := binary.LittleEndian
	le.PutUint32(b[0x40:], 0xBEDA107F)
	le.PutUint32(b[0x44:], 0x00010001)
	le.PutUint32(b[0x4C:], 1)
	le.PutUint32(b[0x154:], 512)
	le.PutUint32(b[0x158:], 1024)
	le.PutUint32(b[0x168:], 512)
	le.PutUint64(b[0x170:], 8192)
	le.PutUint32(b[0x178:], 4096)
	le.PutUint32(b[0x180:], 2)
	le.PutUint32(b[512:], 0xFFFFFFFF)
	copy(b[1024:], "hello")
	return string(b)
}

func Example() {
	file := smallDisk()
	r, err := vdi.NewReader(strings.NewReader(file), int64(len(file)))
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
	_, err = r.ReadAt(p, 4096)
	fmt.Printf("%s %v\n", p, err)
	// Output:
	// dynamic 8192
	// data from 4096 to 8192
	// hello <nil>
}
