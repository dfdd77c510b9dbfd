package bitmap_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"

	"github.com/fastimage/fastimage/bitmap"
)

func Example() {
	f, err := os.Open("../testdata/disk.raw")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}

	bm, err := bitmap.Scan(context.Background(), f, fi.Size())
	if err != nil {
		log.Fatal(err)
	}
	var mf bytes.Buffer
	if err := bm.Encode(&mf, bitmap.DefaultLayout()); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d of %d blocks hold data, %d bytes of .mf\n", bm.Count(), bm.Blocks(), mf.Len())
	fmt.Println(bm.Render(32))
	// Output:
	// 6 of 32 blocks hold data, 4096 bytes of .mf
	// #...#.###......................#
}

func ExampleParseLayout() {
	l, err := bitmap.ParseLayout("bits,block=1M,order=msb,header=hex:4d46+size:u64le")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l)
	// Output: bits,block=1M,order=msb,data=1,pad=4096,fill=0,header=hex:4d46+size:u64le
}
