package zvhd2_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/fastimage/fastimage/zvhd2"
)

func Example() {
	ctx := context.Background()
	disk := make([]byte, 5<<20) // mostly zeros
	copy(disk[3<<20:], "hello")

	var out bytes.Buffer
	sum, err := zvhd2.Encode(ctx, &out, bytes.NewReader(disk), int64(len(disk)), zvhd2.WithLevel(zvhd2.LevelFastest))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sum.StoredBlocks, "of", sum.Blocks, "blocks stored")

	r, err := zvhd2.NewReader(bytes.NewReader(out.Bytes()), sum.FileSize)
	if err != nil {
		log.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := r.ReadAt(got, 3<<20); err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(got))
	// Output:
	// 1 of 3 blocks stored
	// hello
}

func ExampleVerify() {
	var out bytes.Buffer
	disk := strings.NewReader(strings.Repeat("data", 1000))
	if _, err := zvhd2.Encode(context.Background(), &out, disk, 4000); err != nil {
		log.Fatal(err)
	}
	out.Bytes()[4096] = 'X' // the first record's prefix
	rep, err := zvhd2.Verify(context.Background(), bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range rep.Problems {
		fmt.Println(p.Kind, p.Block, p.Offset, p.Field)
	}
	// Output:
	// record 0 4096 record.prefix
}
