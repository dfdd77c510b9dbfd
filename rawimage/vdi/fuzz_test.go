package vdi_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/vdi"
)

func FuzzNewReader(f *testing.F) {
	for _, size := range []string{"512", "100000", "50M"} {
		name := filepath.Join(f.TempDir(), "seed")
		qemutest.Img(f, "", "create", "-q", "-f", "vdi", name, size)
		b, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(b)
		// The same with small blocks, two of them stored.
		b = append(b, make([]byte, 2048)...)
		mapAt := binary.LittleEndian.Uint32(b[0x154:])
		binary.LittleEndian.PutUint64(b[0x170:], 2048)
		binary.LittleEndian.PutUint32(b[0x178:], 512)
		binary.LittleEndian.PutUint32(b[0x180:], 4)
		binary.LittleEndian.PutUint32(b[mapAt:], 1)
		binary.LittleEndian.PutUint32(b[mapAt+8:], 0)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := vdi.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			var fe *vdi.FormatError
			if !errors.As(err, &fe) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		qemutest.Exercise(t, r)
	})
}
