package vhdx_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fastimage/fastimage/rawimage/vhdx"
)

// A file that only looks like a VHDX.
func Example() {
	file := "vhdxfile" + strings.Repeat("\x00", 1<<20)
	r, err := vhdx.NewReader(strings.NewReader(file), int64(len(file)))
	if errors.Is(err, vhdx.ErrDamaged) {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Info().Subformat, r.Size())
	// Output:
	// vhdx: header at offset 65536: neither of the two is valid
}
