package vhd_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/vhd"
)

// FuzzNewReader mends the checksums of what it is given, as no mutation would
// get past them otherwise.
func FuzzNewReader(f *testing.F) {
	for _, opts := range []string{"subformat=dynamic", "subformat=fixed", "force_size=on"} {
		name := filepath.Join(f.TempDir(), "seed")
		qemutest.Img(f, "", "create", "-q", "-f", "vpc", "-o", opts, name, "40000")
		b, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(b, true)
		if opts == "force_size=on" {
			f.Add(append(b, make([]byte, 48000)...), true)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		b = bytes.Clone(b)
		if mend && len(b) >= 2048 {
			seal(b, 0, 512, 64)
			seal(b, 512, 1024, 36)
		}
		r, err := vhd.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			var fe *vhd.FormatError
			if !errors.As(err, &fe) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		qemutest.Exercise(t, r)
	})
}
