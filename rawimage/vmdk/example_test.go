package vmdk_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/fastimage/fastimage/rawimage/vmdk"
)

// A descriptor and the extents it names.
func Example() {
	dir, err := os.MkdirTemp("", "vmdk")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	data := append([]byte("hello"), make([]byte, 1019)...)
	if err := os.WriteFile(filepath.Join(dir, "disk-flat.vmdk"), data, 0o600); err != nil {
		fmt.Println(err)
		return
	}
	text := `# Disk DescriptorFile
version=1
parentCID=ffffffff
createType="custom"
RW 2 ZERO
RW 2 FLAT "disk-flat.vmdk" 0
`
	r, err := vmdk.NewReader(strings.NewReader(text), int64(len(text)), vmdk.WithDir(dir))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	fmt.Println(r.Info().CreateType, r.Size())

	for off := int64(0); ; {
		start, end, err := r.NextData(off)
		if errors.Is(err, io.EOF) {
			break
		}
		fmt.Println("data from", start, "to", end)
		off = end
	}
	p := make([]byte, 5)
	_, err = r.ReadAt(p, 1024)
	fmt.Printf("%s %v\n", p, err)
	// Output:
	// custom 2048
	// data from 1024 to 2048
	// hello <nil>
}
