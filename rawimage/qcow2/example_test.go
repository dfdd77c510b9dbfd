package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log"

	"github.com/fastimage/fastimage/rawimage/qcow2"
)

// exampleImage is a disk of 1 MiB with one cluster of data, at 64 KiB.
func exampleImage() []byte {
	const cluster = 64 << 10
	b := make([]byte, 4*cluster)
	copy(b, "QFI\xfb\x00\x00\x00\x02")
	binary.BigEndian.PutUint32(b[20:], 16)                 // cluster size, as a power of two
	binary.BigEndian.PutUint64(b[24:], 1<<20)              // disk
	binary.BigEndian.PutUint32(b[36:], 1)                  // entries of the L1 table
	binary.BigEndian.PutUint64(b[40:], cluster)            // L1 table
	binary.BigEndian.PutUint64(b[cluster:], 2*cluster)     // L2 table
	binary.BigEndian.PutUint64(b[2*cluster+8:], 3*cluster) // second cluster of the disk
	copy(b[3*cluster:], "data of the disk")
	return b
}

func Example() {
	image := exampleImage()
	r, err := qcow2.NewReader(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	fmt.Printf("version %d, %d bytes\n", r.Info().Version, r.Size())

	for off := int64(0); ; {
		start, end, err := r.NextData(off)
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		p := make([]byte, 16)
		if _, err := r.ReadAt(p, start); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d to %d: %s...\n", start, end, p)
		off = end
	}
	// Output:
	// version 2, 1048576 bytes
	// 65536 to 131072: data of the disk...
}

// An image with a backing file is only read where such files may be opened.
func ExampleWithDir() {
	image := exampleImage()
	binary.BigEndian.PutUint64(image[8:], 256)
	binary.BigEndian.PutUint32(image[16:], 11)
	copy(image[256:], "../../other")

	_, err := qcow2.NewReader(bytes.NewReader(image), int64(len(image)))
	fmt.Println(err)
	_, err = qcow2.NewReader(bytes.NewReader(image), int64(len(image)), qcow2.WithDir("."))
	fmt.Println(err)
	// Output:
	// qcow2: backing file at offset 8: "../../other": no directory was given to open it in
	// qcow2: backing file at offset 8: "../../other": outside of the directory allowed
}
