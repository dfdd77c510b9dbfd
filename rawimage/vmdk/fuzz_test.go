package vmdk_test

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/vmdk"
)

func FuzzNewReader(f *testing.F) {
	dir := f.TempDir()
	for _, opts := range []string{"subformat=monolithicSparse", "subformat=streamOptimized", "subformat=monolithicFlat"} {
		b := qemutest.Make(f, qemutest.Disk{Name: "tiny", Size: 4096, Data: []extent{{0, 600}}}, "vmdk", opts)
		f.Add(b)
	}
	f.Add([]byte("version=1\nRW 7 ZERO\nRW 8 FLAT \"in\" 0\nRW 8 SPARSE \"../in\"\n"))
	require.NoError(f, os.WriteFile(dir+"/in", make([]byte, 4096), 0o600))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, open := range []func() (*vmdk.Reader, error){
			func() (*vmdk.Reader, error) { return newReader(b) },
			func() (*vmdk.Reader, error) { return newReader(b, vmdk.WithDir(dir)) },
		} {
			r, err := open()
			if err != nil {
				var fe *vmdk.FormatError
				if !errors.As(err, &fe) {
					t.Fatalf("untyped: %v", err)
				}
				continue
			}
			qemutest.Exercise(t, r)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
