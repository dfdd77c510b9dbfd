package rawimage_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage"
)

// FuzzDetectFormat: no panic on any head and tail.
func FuzzDetectFormat(f *testing.F) {
	f.Add([]byte("QFI\xfb\x00\x00\x00\x02"), []byte("conectix"))
	f.Add([]byte("# Disk DescriptorFile\n"), []byte{})
	f.Fuzz(func(t *testing.T, head, tail []byte) {
		require.NotEmpty(t, rawimage.DetectFormat(head, tail).Description())
	})
}
